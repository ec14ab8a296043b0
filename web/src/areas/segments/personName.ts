/** What a person is called where there is room for one name. */
import type { SegmentPerson } from "@/api/segments";

export const personName = (one: SegmentPerson): string => one.email ?? one.phone ?? one.user_id ?? one.id;
