"""A training in plain lines: for pipes, logs and notebooks."""

from __future__ import annotations

from collections.abc import Sequence

from storyteller.training.events import Evaluated, Finished, Iterated, Noted, Planned, Sampled, TrainEvent

EVERY_SECONDS = 10.0


class LineWriter:
    """Turns events into lines; of iterations only one in ``every`` seconds."""

    def __init__(self, every: float = EVERY_SECONDS) -> None:
        self.every = every
        self.told_at = -every

    def lines(self, event: TrainEvent) -> Sequence[str]:
        """The lines that tell ``event``, none or several."""
        match event:
            case Planned():
                return plan_lines(event)
            case Noted():
                return [event.message]
            case Iterated():
                if event.seconds - self.told_at < self.every:
                    return []
                self.told_at = event.seconds
                return [iteration_line(event)]
            case Evaluated():
                return [evaluation_line(event)]
            case Sampled():
                return [f"    {_one_line(prompt + text)}" for prompt, text in event.samples]
            case Finished():
                return [finish_line(event)]
            case _:
                return []


def plan_lines(plan: Planned) -> list[str]:
    """What is going to be done, and how long it will take."""
    per_epoch, tokens = plan.iterations_per_epoch, plan.tokens_per_iteration
    length = "until the time limit" if plan.total is None else f"{plan.total:,} iterations ({plan.total / per_epoch:.1f} epochs)"
    begun = f", of which {plan.first_iteration:,} are done" if plan.first_iteration else ""
    processes = f" × {plan.processes}" if plan.processes > 1 else ""
    return [
        f"data: {plan.train_stories:,} stories, {plan.train_tokens:,} tokens to train on; {plan.valid_stories:,} stories held out",
        f"network: {plan.settings['preset']}, {plan.parameters:,} parameters, vocabulary {plan.vocab_size:,}",
        f"device: {plan.device}{processes}, {plan.precision}, {plan.threads} threads",
        f"training: {length}{begun}, {tokens:,} tokens each"
        + (f"; about {duration(plan.seconds_expected)}" if plan.seconds_expected is not None else ""),
        f"model: {plan.out}",
        *(f"note: {note}" for note in plan.notes),
    ]


def settings_line(plan: Planned) -> str:
    """All settings that are not None, on one line."""
    return "settings: " + ", ".join(f"{name}={value}" for name, value in plan.settings.items() if value not in (None, [], False))


def iteration_line(event: Iterated) -> str:
    """Where the training is."""
    of = "" if event.total is None else f"/{event.total:,}"
    left = ""
    if event.total is not None and event.tokens_per_second:
        each = event.tokens / event.iteration / event.tokens_per_second
        left = f"  {duration((event.total - event.iteration) * each)} left"
    return (
        f"iteration {event.iteration:,}{of}  epoch {event.epoch:.2f}  loss {event.loss:.4f}  lr {event.learning_rate:.2e}  "
        f"norm {event.grad_norm:.2f}  {event.tokens_per_second:,.0f} tokens/s  {duration(event.seconds)}{left}"
    )


def evaluation_line(event: Evaluated) -> str:
    """How well it predicts."""
    what = "final" if event.final else f"iteration {event.iteration:,}"
    if event.nats_per_token is None or event.bits_per_byte is None:
        return f"{what}: no stories are held out"
    both = ""
    if event.average_nats_per_token is not None and event.last_nats_per_token is not None:
        both = f" (last {event.last_nats_per_token:.4f}, average {event.average_nats_per_token:.4f})"
    trained = "" if event.train_loss is None else f"  train {event.train_loss:.4f}"
    return (
        f"{what}: held out {event.nats_per_token:.4f} nats per token{both}  perplexity {event.perplexity:.2f}  "
        f"{event.bits_per_byte:.4f} bits per byte  {event.stories:,} stories{trained}{'  best' if event.best and not event.final else ''}"
    )


def finish_line(event: Finished) -> str:
    """How it ended."""
    result = event.result
    ended = "stopped and saved" if result.reason == "stopped" else f"done ({result.reason})"
    return f"{ended}: {result.iterations:,} iterations, {result.tokens:,} tokens in {duration(result.seconds)}; model: {result.path}"


def duration(seconds: float) -> str:
    """3725 -> 1h02m; 62 -> 1m02s; 5.25 -> 5.2s."""
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest:02}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02}m"


def _one_line(text: str) -> str:
    return " ".join(text.split())
