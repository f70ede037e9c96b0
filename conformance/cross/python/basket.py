"""The workflow Basket, in Python."""

from dataclasses import dataclass

from temporalio import workflow
from temporalio.exceptions import ApplicationError


@dataclass
class BasketInput:
    owner: str


@dataclass
class Goods:
    name: str
    count: int
    tags: list[str]


@dataclass
class Left:
    name: str
    left: int


@dataclass
class Summary:
    owner: str
    goods: dict[str, int]
    note: str | None


@dataclass
class BasketResult:
    owner: str
    lines: list[str]


@workflow.defn
class Basket:
    @workflow.init
    def __init__(self, basket: BasketInput) -> None:
        self._owner = basket.owner
        self._lines: list[str] = []
        self._goods: dict[str, int] = {}
        self._note: str | None = None
        self._spilled: ApplicationError | None = None
        self._closed = False

    @workflow.run
    async def run(self, basket: BasketInput) -> BasketResult:
        await workflow.wait_condition(lambda: self._closed or self._spilled is not None)
        if self._spilled is not None:
            raise self._spilled
        return BasketResult(self._owner, self._lines)

    @workflow.signal
    def touch(self) -> None:
        self._lines.append("touch")

    @workflow.signal
    def remark(self, text: str) -> None:
        self._note = text
        self._lines.append(f"remark {text}")

    @workflow.signal
    def put(self, goods: Goods) -> None:
        self._goods[goods.name] = self._goods.get(goods.name, 0) + goods.count
        self._lines.append(f"put {goods.name} {goods.count} [{' '.join(goods.tags)}]")

    @workflow.signal
    def move(self, name: str, steps: int, left: bool) -> None:
        self._lines.append(f"move {name} {steps} {'true' if left else 'false'}")

    @workflow.signal
    def spill(self, where: str, height: int) -> None:
        self._spilled = ApplicationError(f"spilled {where}", height, type="Spilled", non_retryable=True)

    @workflow.signal
    def close(self) -> None:
        self._closed = True

    @workflow.query
    def lines(self) -> list[str]:
        return self._lines

    @workflow.query
    def has(self, name: str, count: int) -> bool:
        return self._goods.get(name, 0) >= count

    @workflow.query
    def summary(self) -> Summary:
        return Summary(self._owner, self._goods, self._note)

    @workflow.query
    def weigh(self) -> int:
        raise RuntimeError("the scale is broken")

    @workflow.update
    def take(self, name: str, count: int) -> Left:
        have = self._goods.get(name, 0)
        if have < count:
            raise ApplicationError(f"only {have} of {name}", Left(name, have), type="NotEnough")
        self._goods[name] = have - count
        return Left(name, self._goods[name])

    @take.validator
    def check_take(self, name: str, count: int) -> None:
        if count <= 0:
            raise ApplicationError(f"the count has to be positive, not {count}", type="BadCount")

    @workflow.update
    def fill(self, goods: Goods) -> None:
        self.put(goods)

    @workflow.update
    async def wait_for_lines(self, count: int) -> list[str]:
        await workflow.wait_condition(lambda: len(self._lines) >= count)
        return self._lines
