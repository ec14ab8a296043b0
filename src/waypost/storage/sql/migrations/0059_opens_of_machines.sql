-- Opens and clicks of machines no longer count in conditions: the segments of workspaces that ask for them are evaluated again.

UPDATE segments SET filled_to = 0, announces = 1
WHERE tracked = 1 AND deleted_at IS NULL AND workspace_id IN (
    SELECT workspace_id FROM segments WHERE deleted_at IS NULL
        AND (condition LIKE '%email.opened%' OR condition LIKE '%email.clicked%' OR condition LIKE '%message.clicked%')
);
