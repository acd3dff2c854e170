"""A run as the tables have it, and as the reference says that it must be."""

from __future__ import annotations

import json
from typing import Any

from tests.chaos.model.database import WF_TYPE
from tests.chaos.model.reference import Run

STATE = f"""
    select run_id, status, owner, epoch, cause, step_no, step_name, step_attempt, crashes,
        inbox_head, inbox_tail, wait_step, cancel_requested_at is not null as cancel,
        round(extract(epoch from wake_at - now()) / 3600)::integer as due,
        (select json_object_agg(s.key, s.value) from grctl.store s
            where s.run_id = r.run_id) as store,
        (select json_agg(json_build_array(e.kind, e.epoch) order by e.seq)
         from grctl.events e where e.run_id = r.run_id) as history,
        (select json_agg(
            case i.kind when 'child' then i.message_id::text else i.payload #>> '{{}}' end
            order by i.no)
         from grctl.inbox i where i.run_id = r.run_id) as inbox
    from grctl.runs r
    where r.wf_type = '{WF_TYPE}'
"""


def as_stored(row: Any) -> dict[str, Any]:
    found = dict(row)
    del found["run_id"]
    for name, empty in (("store", {}), ("history", []), ("inbox", [])):
        found[name] = empty if found[name] is None else json.loads(found[name])
    found["history"] = [tuple(each) for each in found["history"]]
    return found


def differences(found: dict[str, Any], expected: dict[str, Any]) -> dict[str, Any]:
    return {name: (found[name], each) for name, each in expected.items() if found[name] != each}


def as_expected(run: Run) -> dict[str, Any]:
    return {
        "status": run.status, "owner": run.owner, "epoch": run.epoch, "cause": run.cause,
        "step_no": run.step_no, "step_name": run.step_name, "step_attempt": run.step_attempt,
        "crashes": run.crashes, "inbox_head": run.head, "inbox_tail": run.tail,
        "wait_step": run.wait_step, "cancel": run.cancel, "due": run.due,
        "store": {key: json.loads(value) for key, value in run.store.items()},
        "history": run.history, "inbox": run.inbox,
    }  # fmt: skip
