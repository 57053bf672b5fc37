"""The sandbox itself: the accounts at the imitated gateway, free of HTTP."""

import time
from collections.abc import Callable, Iterable

from wan_mcp.sandbox.accounts import Account
from wan_mcp.sandbox.callbacks import Callbacks, Send, post
from wan_mcp.sandbox.dates import Dates
from wan_mcp.sandbox.faults import Fault, Script
from wan_mcp.sandbox.idempotency import Keys
from wan_mcp.sandbox.orders import MODEL, Order
from wan_mcp.sandbox.pictures import Fetch, download, obtain, plain, scene
from wan_mcp.sandbox.problems import Problem
from wan_mcp.sandbox.records import Payment, Records
from wan_mcp.sandbox.results import Render, Results, render_video
from wan_mcp.sandbox.tasks import PREFIX, Failure, Task, new_task_id
from wan_mcp.sandbox.uploads import Upload, Uploads

DUPLICATE_SECONDS = 24 * 3600
MAIN = "main"
"""The name of the account that every sandbox has."""


class Sandbox:
    """An account with some credits, called `main`, and further ones. All times come from `clock`.

    `seconds` is how long a task takes, `fetch` gets pictures that were not uploaded here, `render` makes the
    videos (first frame, seconds, quality) and `send` posts a callback (address, body) and returns its status.
    `accounts` are the further accounts: none knows another one's tasks.

    These can be changed at any time:
    `key`, `other_keys` and `credits` are those of the account `main`;
    `says_replayed` is whether a replay under an idempotency key has a header that says so;
    `deduplicates` is whether a body that was accepted in the last 24 hours is answered with its task,
    whatever the idempotency key, and without that header;
    `list_delay` is the seconds after which a task is in the account's list;
    `filters_list` is whether the list is filtered by model and status;
    `dates` is how the list writes when a task was created;
    `date_offset` is the seconds by which the Date header is ahead of the clock (None: there is no header).
    """

    def __init__(
        self,
        *,
        seconds: float = 6.0,
        clock: Callable[[], float] = time.time,
        key: str = "sk-sandbox",
        other_keys: tuple[str, ...] = (),
        credits: float = 1000.0,
        honours_idempotency_key: bool = True,
        says_replayed: bool = True,
        deduplicates: bool = False,
        offers_list: bool = True,
        list_delay: float = 0.0,
        filters_list: bool = True,
        dates: Dates = "seconds",
        older_errors: bool = False,
        date_offset: float | None = 0.0,
        fetch: Fetch | None = None,
        render: Render | None = None,
        send: Send | None = None,
        faults: Iterable[Fault] = (),
        accounts: Iterable[Account] = (),
    ) -> None:
        self.seconds = seconds
        self.clock = clock
        self.main = Account(MAIN, key, credits, other_keys)
        self.accounts = [self.main, *accounts]
        self.honours_idempotency_key = honours_idempotency_key
        self.says_replayed = says_replayed
        self.deduplicates = deduplicates
        self.offers_list = offers_list
        self.list_delay = list_delay
        self.filters_list = filters_list
        self.dates: Dates = dates
        self.older_errors = older_errors
        self.date_offset = date_offset
        self.records = Records()
        self.faults = Script(faults)
        self.uploads = Uploads(clock)
        self.results = Results(render or render_video)
        self.callbacks = Callbacks(clock, self.body_of, send or post)
        self.submission_keys = Keys[Task](clock)
        self.upload_keys = Keys[Upload](clock)
        self._fetch = fetch or download

    @property
    def key(self) -> str:
        return self.main.key

    @key.setter
    def key(self, key: str) -> None:
        self.main.key = key

    @property
    def other_keys(self) -> tuple[str, ...]:
        return self.main.other_keys

    @other_keys.setter
    def other_keys(self, keys: tuple[str, ...]) -> None:
        self.main.other_keys = keys

    @property
    def credits(self) -> float:
        return self.main.credits

    @credits.setter
    def credits(self, credits: float) -> None:
        self.main.credits = credits

    def admit(self, credentials: str) -> tuple[Account, str] | None:
        """The account of a key, and what stands for the key in the records; None for a wrong key."""
        labels = [(account, account.label(credentials)) for account in self.accounts]
        return next(((account, label) for account, label in labels if label is not None), None)

    async def submit(
        self,
        order: Order,
        base: str,
        *,
        account: Account | None = None,
        sent_by: str | None = None,
        key: str | None = None,
        failure: Failure | None = None,
        postponed: float = 0.0,
    ) -> Task:
        """A new paid task of the account, by default `main`; it fails when the picture is unusable, or as
        `failure` says.

        It is created `postponed` seconds from now, and does not exist before.
        If the sandbox deduplicates, this may be the task of an equal request instead.
        """
        account = account or self.main
        picture, flaw = await self._picture(order)
        if self.deduplicates and (known := self._equal(account, order)):
            return known
        if account.remaining(self.clock()) < order.credits:
            raise Problem(402, "The balance is too low for this request.")
        task = self._add(account, order, self.clock() + postponed, picture, failure or flaw)
        payment = Payment(task.id, key, order.prompt, order.credits, task.created, sent_by)
        self.records.paid.append(payment)
        self.callbacks.expect(task, base)
        return task

    def add_foreign(self, *, model: str = MODEL, created: float | None = None, prompt: str = "A dog.") -> str:
        """Add a task of another program on the account `main`, created now or at that moment; returns its id.

        It takes credits as any task does, but is not a payment in the records.
        """
        order = Order(prompt, image_url="", duration=5, quality="720p", callback_url=None, model=model)
        return self._add(self.main, order, self.clock() if created is None else created, plain()).id

    def task(self, task_id: str, account: Account | None = None) -> Task:
        """A task of an account, or of any where none is given."""
        if not task_id.startswith(PREFIX):
            raise Problem(400, f"A task id begins with {PREFIX}.", code="invalid_task_id", param="task_id")
        found = [one.tasks.get(task_id) for one in (self.accounts if account is None else [account])]
        task = next(filter(None, found), None)
        if task is None or not task.is_on_record(self.clock()):
            raise Problem(404, f"There is no task {task_id}.", code="task_not_found")
        return task

    def tasks(self, account: Account | None = None) -> list[Task]:
        """The list of an account, by default `main`, newest first."""
        now = self.clock()
        listed = [
            task
            for task in reversed((account or self.main).tasks.values())
            if task.is_on_record(now) and now >= task.created + self.list_delay
        ]
        return sorted(listed, key=lambda task: task.created, reverse=True)

    def body_of(self, task: Task, base: str) -> dict[str, object]:
        """The body that answers a query now; result links start with `base`."""
        return task.body(self.clock(), base, self.dates)

    @property
    def remaining_credits(self) -> float:
        return self.main.remaining(self.clock())

    @property
    def used_credits(self) -> float:
        return self.main.used(self.clock())

    def _add(
        self,
        account: Account,
        order: Order,
        created: float,
        picture: bytes,
        failure: Failure | None = None,
    ) -> Task:
        """A new task; if it is created in the future, it does not exist before."""
        ends = created if failure and failure.at_once else created + self.seconds
        task = Task(new_task_id(created), order, created, ends, picture, failure)
        account.tasks[task.id] = task
        return task

    def _equal(self, account: Account, order: Order) -> Task | None:
        """The latest task of the last 24 hours for the same request, also if it is still to be created."""
        oldest = self.clock() - DUPLICATE_SECONDS
        equal = [task for task in account.tasks.values() if task.order == order and task.created >= oldest]
        return equal[-1] if equal else None

    async def _picture(self, order: Order) -> tuple[bytes, Failure | None]:
        """The first frame, and what is wrong with it."""
        if order.image_url is None:
            return scene(order.aspect_ratio or "16:9"), None
        return await obtain(order.image_url, self._get_picture)

    async def _get_picture(self, url: str) -> bytes:
        upload = self.uploads.at(url)
        return upload.content if upload else await self._fetch(url)
