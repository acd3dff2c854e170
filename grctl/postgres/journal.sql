-- name: commit
select run, verdict, why, item
from grctl.commit_batch(
    $1::bigint, $2::integer, $3::bigint,
    $4::uuid[], $5::integer[], $6::integer[], $7::integer[], $8::integer[],
    $9::text[], $10::text[], $11::text[], $12::integer[], $13::integer[],
    $14::bigint[], $15::text[], $16::text[],
    $17::uuid[], $18::integer[], $19::integer[], $20::text[], $21::text[],
    $22::text[], $23::integer[], $24::bigint[], $25::text[],
    $26::integer[], $27::text[], $28::text[],
    $29::uuid[], $30::text[], $31::text[],
    $32::uuid[], $33::json, $34::json, $35::json)
