-- A connection keeps the defaults of its connector's fields as they were when it was stored. Those of the `http` connector that were
-- stored while 503 was its default for `retry_statuses` would go on sending a message again after a 503, although nothing proves that
-- the gateway did not take it. Connections of a definition that a workspace named `http` itself stay as they are.

UPDATE configurations SET version = version + 1 WHERE area = 'providers' AND workspace_id IN (
    SELECT c.workspace_id FROM connections c WHERE c.connector = 'http' AND c.config LIKE '%"retry_statuses":"503"%'
        AND NOT EXISTS (SELECT 1 FROM connectors o WHERE o.workspace_id = c.workspace_id AND o.name = 'http')
);
UPDATE connections SET config = replace(config, '"retry_statuses":"503"', '"retry_statuses":""'), version = version + 1
WHERE connector = 'http' AND config LIKE '%"retry_statuses":"503"%'
    AND NOT EXISTS (SELECT 1 FROM connectors o WHERE o.workspace_id = connections.workspace_id AND o.name = 'http');
