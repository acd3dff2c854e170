-- name: ask
-- Before it is done, so that nothing is done that is not here.
insert into grctl.audit (actor, peer, action, run_id, wf_id, details)
values ($1, $2, $3, $4, $5, $6::json)
returning audit_no

-- name: close
update grctl.audit set outcome = $2, run_id = coalesce($3, run_id) where audit_no = $1

-- name: of_run
select audit_no, at, actor, peer, action, details, outcome
from grctl.audit
where run_id = $1
order by audit_no desc
limit $2
