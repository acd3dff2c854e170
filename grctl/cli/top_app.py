"""The screens of `grctl top`. What they show is read by `grctl.postgres.top`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit
from uuid import UUID

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import DataTable, Footer, Static

from grctl.cli.timeline import line, title
from grctl.cli.why import paragraph
from grctl.cli.words import duration, printable
from grctl.client import Client
from grctl.postgres.database import is_passing
from grctl.postgres.top import Look, View, look_at
from grctl.postgres.why import explain

__all__ = ["TopApp"]

MOST_RUNS = 200
MOST_EVENTS = 500
"""Of a run's history the last so many are shown."""

_VIEWS: Final[dict[View, tuple[str, str]]] = {
    "running": ("running", "FOR"),
    "due": ("due, held by no worker", "SINCE"),
    "timers": ("waiting for a timer", "IN"),
    "latest": ("latest", "TOOK"),
}
"""What the runs are called, and what their time means."""


class TopApp(App[None]):
    """Until the user quits."""

    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [Binding("q", "quit", "Quit")]

    def __init__(self, client: Client, every: float) -> None:
        super().__init__()
        self._client = client
        self._every = every

    def on_mount(self) -> None:
        """Show workers and runs."""
        self.push_screen(TopScreen(self._client, self._every))


class TopScreen(Screen[None]):
    """Workers above, runs below, and a line of figures over both."""

    CSS = """
    #figures { height: auto; padding: 0 1; background: $panel; }
    #problem { height: auto; padding: 0 1; color: $error; display: none; }
    #workers { height: auto; max-height: 30%; scrollbar-size-horizontal: 0; }
    #heading { height: 1; padding: 0 1; margin-top: 1; text-style: bold; }
    #runs { height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "pause", "Pause"),
        Binding("1", "view('running')", "Running"),
        Binding("2", "view('due')", "Due"),
        Binding("3", "view('timers')", "Timers"),
        Binding("4", "view('latest')", "Latest"),
    ]

    def __init__(self, client: Client, every: float) -> None:
        super().__init__()
        self._client = client
        self._every = every
        self._view: View = "running"
        self._is_paused = False
        self._is_looking = False
        place = urlsplit(client.database.dsn)
        self._place = printable(f"{place.hostname or ''}{place.path}")

    def compose(self) -> ComposeResult:
        """The widgets, from top to bottom."""
        yield Static(id="figures", markup=False)
        yield Static(id="problem", markup=False)
        yield DataTable(id="workers", cursor_type="none")
        yield Static(id="heading", markup=False)
        yield DataTable(id="runs", cursor_type="row")
        yield Footer()

    async def on_mount(self) -> None:
        """Look at once, and then again and again."""
        self.query_one("#workers", DataTable).add_columns(
            "WORKER", "STATE", "RUNS", "LEASE", "TYPES"
        )
        self.query_one("#runs", DataTable).focus()
        self.set_interval(self._every, self._look)
        await self._look()

    def action_pause(self) -> None:
        """Stand still, or go on."""
        self._is_paused = not self._is_paused
        self.run_worker(self._look(is_asked=True), group="look")

    def action_view(self, view: View) -> None:
        """Show other runs."""
        self._view = view
        self.run_worker(self._look(is_asked=True), group="look")

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Enter on a run: all about it."""
        wf_id, run_id = str(event.row_key.value).rsplit("\0", 1)
        self.app.push_screen(RunScreen(self._client, wf_id, UUID(run_id)))

    async def _look(self, *, is_asked: bool = False) -> None:
        """One look at the database, unless one is on its way."""
        is_wanted = is_asked or (self.is_current and not self._is_paused)
        if self._is_looking or not is_wanted:
            return
        self._is_looking = True
        problem = self.query_one("#problem", Static)
        try:
            look = await look_at(self._client.database, self._view, MOST_RUNS)
        except Exception as error:
            if not is_passing(error):
                raise
            problem.update(f"the database does not answer: {printable(str(error)) or error!r}")
            problem.display = True
        else:
            problem.display = False
            self._show(look)
        finally:
            self._is_looking = False

    def _show(self, look: Look) -> None:
        self.query_one("#figures", Static).update(self._figures(look))
        _fill(self.query_one("#workers", DataTable), _worker_rows(look.workers))
        heading, unit = _VIEWS[self._view]
        more = "+" if len(look.runs) == MOST_RUNS else ""
        self.query_one("#heading", Static).update(f"runs {heading}: {len(look.runs)}{more}")
        runs = self.query_one("#runs", DataTable)
        columns = ("WORKFLOW ID", "TYPE", "STATUS", "STEP", unit, "WORKER")
        if [str(column.label) for column in runs.ordered_columns] != list(columns):
            runs.clear(columns=True)
            runs.add_columns(*columns)
        _fill(runs, _run_rows(look.runs))

    def _figures(self, look: Look) -> str:
        depths = look.depths
        held = sum(worker["runs"] for worker in look.workers if worker["ended_at"] is None)
        slots = sum(worker["concurrency"] for worker in look.workers if worker["state"] == "up")
        due = sum(each.runs for each in depths.due)
        oldest = max((each.oldest_seconds or 0.0 for each in depths.due), default=0.0)
        late = f" ({depths.workers_late} late)" if depths.workers_late else ""
        state = "PAUSED" if self._is_paused else f"every {self._every:g} s"
        return (
            f"{self._place}  {state}\n"
            f"workers {depths.workers_up}{late}   held {held} of {slots}   "
            f"due {due}, oldest {_seconds(oldest)}   inbox {depths.messages}   "
            f"started {look.started / 10:g}/s"
        )


class RunScreen(Screen[None]):
    """Why a run stands where it stands, and its history, as of when it was opened."""

    CSS = """
    RunScreen Static { padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,backspace", "app.pop_screen", "Back"),
        Binding("r", "reread", "Read again"),
    ]

    def __init__(self, client: Client, wf_id: str, run_id: UUID) -> None:
        super().__init__()
        self._client = client
        self._wf_id = wf_id
        self._run_id = run_id

    def compose(self) -> ComposeResult:
        """All in one text that scrolls."""
        with VerticalScroll():
            yield Static("…", id="text", markup=False)
        yield Footer()

    async def on_mount(self) -> None:
        """Read it."""
        await self.action_reread()

    async def action_reread(self) -> None:
        """As it is now."""
        try:
            text = "\n".join(await self._lines())
        except Exception as error:  # noqa: BLE001 - it may be gone, or the database away
            text = printable(f"{type(error).__name__}: {error}")
        self.query_one("#text", Static).update(text)

    async def _lines(self) -> list[str]:
        explanation = await explain(self._client.database, self._wf_id, self._run_id)
        if explanation is None:
            return ["it is gone: its history was pruned"]
        width = max(40, self.size.width - 4)
        events = await self._client.get_history(self._wf_id, self._run_id)
        lines = [title(events[0], color=False, width=width)] if events else []
        lines.append(f"{printable(explanation.wf_type)} · {explanation.status}")
        lines += [paragraph(each, explanation.as_of, width) for each in explanation.reasons]
        lines.append("")
        if len(events) > MOST_EVENTS:
            lines.append(f"… {len(events) - MOST_EVENTS} earlier events: see `grctl history`")
        for event in events[-MOST_EVENTS:]:
            after = event.timestamp - events[0].timestamp
            lines.append(line(event, after, color=False, width=width))
        return lines


_Rows = Iterable[tuple[str, Sequence[str]]]
"""A key and the cells of each row."""


def _worker_rows(workers: Sequence[Any]) -> _Rows:
    for worker in workers:
        is_open = worker["ended_at"] is None
        yield (
            # A process that lost its lease has two terms under one name.
            f"{worker['worker_id']}\0{worker['started_at']}",
            (
                printable(worker["worker_id"]),
                worker["state"],
                f"{worker['runs']}/{worker['concurrency']}",
                f"{worker['lease_left']:.0f} s" if is_open else "-",
                printable(", ".join(worker["types"])),
            ),
        )


def _run_rows(runs: Sequence[Any]) -> _Rows:
    for run in runs:
        attempt = f" (attempt {run['attempt']})" if run["attempt"] > 1 else ""
        yield (
            f"{run['wf_id']}\0{run['run_id']}",
            (
                printable(run["wf_id"]),
                printable(run["wf_type"]),
                run["status"],
                f"{printable(run['step'] or '-')}{attempt}",
                _seconds(run["seconds"] or 0.0),
                printable(run["worker_id"] or "-"),
            ),
        )


def _fill(table: DataTable[Any], rows: _Rows) -> None:
    """New rows, and the cursor on the run where it was."""
    was = None
    if table.row_count and table.cursor_row < table.row_count:
        was = table.coordinate_to_cell_key(table.cursor_coordinate).row_key.value
    offset = table.scroll_offset
    table.clear()
    for key, cells in rows:
        # As a Text: brackets in a name are no markup.
        table.add_row(*(Text(cell) for cell in cells), key=key)
    if was is not None and was in table.rows:
        table.move_cursor(row=table.get_row_index(was), scroll=False)
    table.scroll_to(offset.x, offset.y, animate=False)


def _seconds(seconds: float) -> str:
    return duration(int(seconds * 1000))
