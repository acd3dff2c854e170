"""Rows that come in no order, in the same one each time: for histories that can be told again."""

from __future__ import annotations

SAME_ORDER = """
    set enable_hashjoin = off;
    set enable_mergejoin = off;
    set enable_bitmapscan = off;
    set enable_seqscan = off;
    set plan_cache_mode = force_generic_plan;
    do $$
    declare
        name regclass;
    begin
        for name in
            select oid from pg_class
            where relnamespace = 'grctl'::regnamespace and relkind = 'r'
        loop
            execute format('alter table %s set (autovacuum_enabled = off)', name);
        end loop;
    end;
    $$
"""
"""For a connection. One plan, whatever the statistics say; and as runs that are due at the same
time are claimed in the order in which they lie, where a new row finds room is not for an autovacuum
to say, which comes when it likes.
"""
