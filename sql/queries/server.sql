-- What commits rest on, as this connection has it.
-- name: ServerSettings :one
SELECT current_setting('server_version_num')::int AS version_num,
       current_setting('fsync')::text AS fsync,
       current_setting('full_page_writes')::text AS full_page_writes,
       current_setting('synchronous_commit')::text AS synchronous_commit,
       current_setting('synchronous_standby_names')::text AS synchronous_standby_names;
