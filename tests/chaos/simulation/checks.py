"""What must hold of a simulated history: tables, ledger and clients tell the same."""

from __future__ import annotations

from collections import Counter

from tests.chaos.simulation.invariants import ALWAYS, AT_THE_END, violations
from tests.chaos.simulation.server import Server
from tests.chaos.simulation.story import History

HANDLED = """
    select e.input #>> '{}' as number from grctl.events e
    where e.kind = 'step.completed' and e.name = $1
    union all
    select i.payload #>> '{}' from grctl.inbox i where i.name = $1
"""
SENT_BY_RUNS = """
    select e.input ->> 'payload' as number
    from grctl.events e
    where e.kind = 'message.sent'
"""
FOLDED = """
    select e.run_id, e.name || ' ' || (e.input #>> '{}')
    from grctl.events e
    where e.kind = 'step.completed' and e.name in ('poke', 'ask')
"""
STORED = "select run_id, key from grctl.store where key like 'poke %' or key like 'ask %'"
UNPLANNED = """
    select r.wf_id, r.error #>> '{error,type}' as type, r.error #>> '{error,message}' as message
    from grctl.runs r
    where r.status = 'failed' and r.error::text not like '%as planned%'
        and r.error::text not like '%CancelledError%'
"""
"""A step that waits for a child is cancelled with it; nothing else here fails by itself."""
DONE = """
    select first.input ->> 'ident' as ident
    from grctl.events e
    join grctl.events first using (run_id, step_no, op)
    where e.kind = 'task.completed' and first.input ->> 'ident' is not null
"""


def check(history: History, server: Server) -> None:
    """AssertionError says all that is wrong, and the seed."""
    wrong = violations(server.look, ALWAYS | AT_THE_END)
    wrong += _starts(history, server) + _messages(history, server) + _bodies(history, server)
    wrong += [f"failed: {tuple(row)}" for row in server.look(UNPLANNED)]
    if set(server.look(FOLDED)) != set(server.look(STORED)):
        wrong.append("the store is not what the finished steps wrote")
    again = f"python -m tests.chaos.simulation {history.seed}"
    assert not wrong, "\n".join([f"of seed {history.seed} ({again}):", *wrong])


def _starts(history: History, server: Server) -> list[str]:
    runs = {str(row["run_id"]) for row in server.look("select run_id from grctl.runs")}
    return [
        f"start {each} was taken and is not there" for each in history.told.started.keys() - runs
    ]


def _messages(history: History, server: Server) -> list[str]:
    """Each event that was taken is handled once, or in its inbox; one of which nobody knows, too,
    or never.
    """
    wrong = []
    told = history.told
    handled = Counter(row["number"] for row in server.look(HANDLED, "poke"))
    taken = [row["number"] for row in server.look(SENT_BY_RUNS)] + [str(n) for n in told.sent]
    wrong += [f"event {n} was handled {handled[n]} times" for n in taken if handled[n] != 1]
    doubtful = {str(number) for number in told.doubtful}
    wrong += [f"event {n} was handled {c} times" for n, c in handled.items() if c > 1]
    unknown = handled.keys() - set(taken) - doubtful
    wrong += [f"event {number} was never sent" for number in unknown]
    answered = Counter(row["number"] for row in server.look(HANDLED, "ask"))
    wrong += [f"update {n} was handled {answered[str(n)]} times" for n in told.asked
              if answered[str(n)] != 1]  # fmt: skip
    return wrong


def _bodies(history: History, server: Server) -> list[str]:
    """A recorded success has its body's end in the ledger; none began once that was committed."""
    ended = {each.ident for each in history.world.entries if each.kind == "end"}
    done = {row["ident"] for row in server.look(DONE)}
    return [f"{ident} is recorded, and did not happen" for ident in done - ended] + [
        f"{ident} was begun again" for ident in history.world.repeated
    ]
