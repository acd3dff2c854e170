-- name: commit
select run, verdict, why, item
from grctl.commit_batch(
    $1::bigint, $2::integer, $3::bigint,
    $4::grctl.batch_event[], $5::grctl.batch_end[], $6::grctl.batch_write[],
    $7::uuid[], $8::json, $9::json, $10::json)
