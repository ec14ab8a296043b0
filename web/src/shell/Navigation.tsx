/** The list of pages that the person may open. */
import { Link } from "@tanstack/react-router";
import { useMay } from "@/api/me";
import classes from "./Navigation.module.css";
import { PAGES } from "./pages";
import { t } from "./texts";

export function Navigation() {
  const may = useMay();
  const pages = PAGES.filter(({ permission }) => permission === undefined || may(permission));
  return (
    <ul className={classes.list}>
      {pages.map(({ to, name, icon: Icon }) => (
        <li key={to}>
          <Link to={to} className={classes.link} activeOptions={{ exact: to === "/", includeSearch: false }}>
            <Icon size={18} stroke={1.6} aria-hidden />
            {t(name)}
          </Link>
        </li>
      ))}
    </ul>
  );
}
