-- name: get
select value from grctl.store where run_id = $1 and key = $2

-- name: all
select key, value from grctl.store where run_id = $1 order by key
