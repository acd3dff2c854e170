from __future__ import annotations
import asyncio
async def test_x(client, serve, database):
    await serve()
    handle = await client.start_workflow(
        "features.parent", "p", {"children": [{"input": {"how": "tell"}}, {"input": {"how": "wait"}}]}
    )
    await asyncio.sleep(1)
    for r in await database.fetch("select wf_id,seq,kind,name,left(input::text,100),left(body::text,200) from grctl.events join grctl.runs using(run_id) order by run_id,seq"): print(*r.values())
    print(await database.fetch("select wf_id,status,inbox_head,inbox_tail from grctl.runs"))
    print(await database.fetch("select * from grctl.inbox"))
    print(await database.fetch("select * from grctl.store"))
    print(repr(await handle.query("words")))
    raise ValueError
