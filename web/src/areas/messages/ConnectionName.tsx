/** The name of a connection with a link to it, where the person may see connections. */
import { Anchor } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { connectionsQuery } from "@/api/connections";
import { useMay } from "@/api/me";

export function ConnectionName({ id }: { id: string }) {
  const may = useMay()("connections.read");
  const found = useQuery({ ...connectionsQuery, enabled: may }).data?.data.find((connection) => connection.id === id);
  if (!found) return <span>{id}</span>;
  return (
    <Anchor component={Link} to="/connections/$id" params={{ id } as never} inherit>
      {found.name}
    </Anchor>
  );
}
