"""The training itself, as a stream of events; whoever reads them decides what is shown."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import torch

from storyteller.engine.model import GRULM
from storyteller.errors import ConfigInvalid, StorytellerError
from storyteller.training.batches import Batches
from storyteller.training.beginning import fitting_batch_size, initial_checkpoint, is_main_process, network_shape, output_directory, settle
from storyteller.training.card import training_record
from storyteller.training.clock import SPEED_FROM, Clock
from storyteller.training.config import Config
from storyteller.training.corpus import EncodedCorpus
from storyteller.training.corpus import Progress as CorpusProgress
from storyteller.training.data import load_corpus
from storyteller.training.devices import auto_preset, open_device
from storyteller.training.directory import ModelDirectory
from storyteller.training.events import EndReason, Evaluated, Finished, Iterated, Noted, Planned, Sampled, Saved, TrainEvent, TrainResult
from storyteller.training.interrupt import Interrupt
from storyteller.training.lines import LineWriter, settings_line
from storyteller.training.samples import tell_samples
from storyteller.training.schedule import FIXED_AT, learning_rate
from storyteller.training.session import Session
from storyteller.training.state import TrainerState
from storyteller.training.validation import HeldOut, Score

if TYPE_CHECKING:
    from accelerate import Accelerator

Events = Generator[TrainEvent, None, None]

GPU_INTERVAL = 10


def train_events(
    config: Config | None = None,
    *,
    corpus: EncodedCorpus | None = None,
    stop: Callable[[], bool] = lambda: False,
    progress: CorpusProgress | None = None,
    dry_run: bool = False,
) -> Events:
    """Train, yielding what happens: :class:`Planned` first (after notes), :class:`Finished` last.

    Without ``config`` the last one that was made or changed is used. ``corpus`` takes the place of the data that ``config`` names;
    ``progress`` hears how far its preparation is. ``stop`` is asked between iterations; when it says yes, everything is saved and the
    training ends with the reason "stopped". ``close()`` does the same in a training of one process. ``dry_run`` ends with the plan.

    Raises :class:`ConfigInvalid` for settings that make no sense together, what :func:`~storyteller.training.corpus.prepare` raises for
    the data, :class:`CheckpointInvalid` for a damaged training to resume, :class:`StorytellerError` when the loss is no number any more.
    """
    config, saved = settle(config or Config.last() or Config())
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    accelerator = open_device(config.device, config.precision)
    begun_from = initial_checkpoint(config, saved)
    with accelerator.main_process_first():
        corpus = corpus or load_corpus(
            config, begun_from.tokenizer if begun_from is not None and config.init_from is not None else None, progress
        )
    if saved is not None and saved.corpus_key != corpus.key:
        raise ConfigInvalid("the data is not that which the training began with", "--init-from DIR --out OTHER begins a new one")
    if saved is not None and saved.processes != accelerator.num_processes:
        raise ConfigInvalid(f"the training runs on {saved.processes} processes, not on {accelerator.num_processes}")
    architecture = network_shape(config, corpus.tokenizer, begun_from)
    batch_size = fitting_batch_size(config.batch_size, config.seq_len, len(corpus.train), accelerator.num_processes)
    batches = Batches(corpus.train, corpus.tokenizer.end_id, batch_size=batch_size, seq_len=config.seq_len, seed=config.seed)
    torch.manual_seed(config.seed)
    model = GRULM(architecture)
    if begun_from is not None and saved is None:
        model.load_state_dict({name: torch.from_numpy(array) for name, array in begun_from.weights().items()}, strict=False)
    # Weights are the same in every process, dropout is not.
    torch.manual_seed((config.seed + accelerator.process_index) % 2**63)
    session = Session(config, model, batches, corpus.tokenizer.end_id, accelerator)
    if saved is not None:
        session.restore(saved)
    else:
        session.progress.total = config.total_iterations(batches.per_epoch)
        session.progress.total_fixed = config.time_limit is None
    trainer = Trainer(config, corpus, session, saved is not None)
    yield trainer.plan()
    if not dry_run:
        yield from trainer.run(stop)


class Trainer:
    """One training in one directory. Every process of a distributed training has one; the main process alone writes."""

    def __init__(self, config: Config, corpus: EncodedCorpus, session: Session, resumed: bool) -> None:
        self.config = config
        self.corpus = corpus
        self.session = session
        self.progress = session.progress
        self.accelerator: Accelerator = session.accelerator
        self.architecture = session.model.config
        self.resumed = resumed
        self.directory = ModelDirectory(output_directory(config), self.architecture, writes=self.accelerator.is_main_process)
        self.held_out = HeldOut(corpus.valid, corpus.tokenizer, seed=config.seed)
        self.interval = 1 if self.accelerator.device.type == "cpu" else GPU_INTERVAL
        self.clock = Clock(self.progress.seconds, config.time_limit)
        self.evaluation_seconds = 0.0
        self.norm: float | None = None
        self.speed: float | None = None

    def plan(self) -> Planned:
        """What is going to happen; a fresh training tries a few iterations to tell how long it will take."""
        total, done, batches = self.progress.total, self.progress.iteration, self.session.batches
        expected = self.config.time_limit
        if not self.resumed and total is not None:
            expected = min(expected or math.inf, (total - done) * self.session.trial_seconds())
        notes = list(self.corpus.report.notes)
        if batches.batch_size != self.config.batch_size:
            notes.append(f"the corpus is small: {batches.batch_size} streams are read side by side, not {self.config.batch_size}")
        if self.architecture.vocab_size < self.config.vocab_size and self.config.init_from is None:
            notes.append(f"the corpus gives {self.architecture.vocab_size:,} tokens, not {self.config.vocab_size:,}")
        return Planned(
            out=self.directory.path,
            parameters=self.architecture.parameters,
            vocab_size=self.architecture.vocab_size,
            train_tokens=len(self.corpus.train) - 1,
            train_stories=self.corpus.train_counts.stories,
            valid_stories=len(self.held_out),
            tokens_per_iteration=batches.batch_size * batches.seq_len,
            iterations_per_epoch=batches.per_epoch,
            total=total,
            first_iteration=done,
            seconds_expected=expected,
            settings=self.config.to_dict() | self.architecture.to_dict(),
            notes=tuple(notes),
            **self._machine(),
        )

    def run(self, stop: Callable[[], bool]) -> Events:
        """Train to the end, or until ``stop``."""
        self.clock.begin()
        if self.resumed:
            self.directory.reopen(self.progress.iteration)
        else:
            self.directory.begin(self.corpus.tokenizer, self.session.named, self._state())
            yield Saved(iteration=0, path=self.directory.path)
        if self.progress.done is not None:
            yield Noted(message=f"this training is complete ({self.progress.done})")
            yield from self._finish()
            return
        try:
            yield from self._loop(stop)
        except GeneratorExit:
            if self.accelerator.num_processes == 1:
                self._save()
            raise

    def _loop(self, stop: Callable[[], bool]) -> Events:
        progress, session = self.progress, self.session
        while True:
            if progress.evaluated != progress.iteration and (self._reason() or progress.iteration % self.config.eval_every == 0):
                yield from self._evaluate()
            if reason := self._reason():
                progress.done = reason
                yield self._save()
                yield from self._finish()
                return
            if session.agreed(stop()):
                yield self._save()
                yield Finished(result=self._result("stopped", None))
                return
            if session.agreed(self.clock.since_save() >= self.config.save_every):
                yield self._save()
            begun, tokens = self.clock.seconds, progress.tokens
            losses = []
            for _ in range(self._until_look()):
                nats, norm = session.iterate()
                losses.append(nats)
            loss = session.mean(torch.stack(losses).mean())
            self._check(loss)
            progress.loss_sum += loss * len(losses)
            progress.loss_count += len(losses)
            self.norm = float(norm)
            self.speed = (progress.tokens - tokens) / max(self.clock.seconds - begun, 1e-9)
            self._fix_total()
            yield self._iterated(loss)

    def _until_look(self) -> int:
        """Iterations until somebody must look at the numbers: a GPU is not made to wait at each one."""
        done, total = self.progress.iteration, self.progress.total
        marks = [self.interval - done % self.interval, self.config.eval_every - done % self.config.eval_every]
        marks += [mark - done for mark in (SPEED_FROM, FIXED_AT, total or 0) if mark > done]
        return min(marks)

    def _reason(self) -> EndReason | None:
        """Why the training is over, None if it is not."""
        if self.progress.total is not None and self.progress.iteration >= self.progress.total:
            return "complete"
        if self.config.patience and self.progress.evaluations_since_best >= self.config.patience:
            return "no improvement"
        if self.config.time_limit is not None and self.session.agreed(self.clock.is_over):
            return "time limit"
        return None

    def _fix_total(self) -> None:
        """Under a time limit: decide, once, how many iterations there will be."""
        if self.progress.total_fixed:
            return
        total = self.clock.total(self.progress.iteration, self.evaluation_seconds / self.config.eval_every)
        if total is not None:
            total = int(self.session.from_main(total))
            self.progress.total = total if self.progress.total is None else min(total, self.progress.total)
            self.progress.total_fixed = True

    def _evaluate(self) -> Events:
        """Score the last weights and their average on some stories, keep the better ones if they are the best so far, tell samples."""
        progress, session = self.progress, self.session
        begun = self.clock.seconds
        with self.clock.apart():
            last = average = self._score(self.config.eval_stories)
            self.clock.keep((self.clock.seconds - begun) * len(self.held_out) / max(1, min(self.config.eval_stories, len(self.held_out))))
            if session.average is not None and progress.iteration:
                with session.averaged_weights():
                    average = self._score(self.config.eval_stories)
            averaged = last is not None and average is not None and average.nats < last.nats
            score = average if averaged else last
            best = score is None or (math.isfinite(score.nats) and score.nats_per_token < (progress.best_nats or math.inf))
            if best:
                progress.best_nats = None if score is None else score.nats_per_token
                progress.best_iteration, progress.best_averaged = progress.iteration, averaged
                self.directory.save_best(session.average.weights if averaged and session.average is not None else session.named)
            progress.evaluations_since_best = 0 if best else progress.evaluations_since_best + 1
            evaluated = self._evaluated(score, last=last, average=average, averaged=averaged, best=best)
            progress.loss_sum, progress.loss_count, progress.evaluated = 0.0, 0, progress.iteration
            self.directory.note(evaluated)
        yield evaluated
        with self.clock.apart():
            sampled = self._sample()
        if sampled is not None:
            yield sampled
        with self.clock.apart():
            self.directory.describe(self._record(None))
        self.evaluation_seconds = self.clock.seconds - begun

    def _sample(self) -> Sampled | None:
        every, number = self.config.sample_every, self.progress.iteration // self.config.eval_every
        if not every or number % every or not self.config.sample_prompts or not self.accelerator.is_main_process:
            return None
        told = tell_samples(self.session.model, self.corpus.tokenizer, self.config.sample_prompts, self.config.seed)
        sampled = Sampled(iteration=self.progress.iteration, samples=told)
        self.directory.note(sampled)
        return sampled

    def _finish(self) -> Events:
        """Score the kept weights on all held-out stories, describe the model and seal it."""
        self.accelerator.wait_for_everyone()
        self.session.model.load_state_dict(self.directory.best(), strict=False)
        score = self._score(None)
        event = self._evaluated(score, last=None, average=None, averaged=self.progress.best_averaged, best=True, final=True)
        self.directory.note(event)
        self.directory.describe(self._record(score))
        self.directory.close()
        yield event
        yield Finished(result=self._result(self.progress.done or "complete", score))

    def _score(self, most: int | None) -> Score | None:
        return self.held_out.score(self.session.model, self.accelerator, most) if len(self.held_out) else None

    def _save(self) -> Saved:
        with self.clock.apart():
            self.directory.save_state(self._state())
            self.accelerator.wait_for_everyone()
            self.clock.note_save()
        return Saved(iteration=self.progress.iteration, path=self.directory.path)

    def _state(self) -> TrainerState:
        self.progress.seconds = self.clock.seconds
        return self.session.snapshot(self.config.to_dict(), self.corpus.key)

    def _record(self, score: Score | None) -> dict[str, Any]:
        figures: dict[str, Any] = {
            "iterations": self.progress.iteration,
            "tokens": self.progress.tokens,
            "seconds": round(self.clock.seconds, 1),
            "best_iteration": self.progress.best_iteration,
            "best_averaged": self.progress.best_averaged,
            "nats_per_token": self.progress.best_nats if score is None else score.nats_per_token,
        }
        if score is not None:
            figures |= {"perplexity": score.perplexity, "bits_per_byte": score.bits_per_byte, "stories": score.stories}
        return training_record(self.config.to_dict() | self.architecture.to_dict(), self.corpus, figures, self._machine())

    def _machine(self) -> dict[str, Any]:
        mixed = self.accelerator.mixed_precision
        return {
            "device": str(self.accelerator.device),
            "precision": "float32" if mixed == "no" else mixed,
            "processes": self.accelerator.num_processes,
            "threads": torch.get_num_threads(),
        }

    def _result(self, reason: EndReason, score: Score | None) -> TrainResult:
        return TrainResult(
            path=self.directory.path,
            reason=reason,
            iterations=self.progress.iteration,
            tokens=self.progress.tokens,
            seconds=self.clock.seconds,
            best_iteration=self.progress.best_iteration,
            nats_per_token=None if score is None else score.nats_per_token,
            perplexity=None if score is None else score.perplexity,
            bits_per_byte=None if score is None else score.bits_per_byte,
        )

    def _evaluated(
        self, score: Score | None, *, last: Score | None, average: Score | None, averaged: bool, best: bool, final: bool = False
    ) -> Evaluated:
        progress = self.progress
        return Evaluated(
            iteration=progress.iteration,
            tokens=progress.tokens,
            seconds=self.clock.seconds,
            train_loss=progress.loss_sum / progress.loss_count if progress.loss_count else None,
            nats_per_token=None if score is None else score.nats_per_token,
            perplexity=None if score is None else score.perplexity,
            bits_per_byte=None if score is None else score.bits_per_byte,
            last_nats_per_token=None if last is None else last.nats_per_token,
            average_nats_per_token=None if average is None or average is last else average.nats_per_token,
            averaged=averaged,
            best=best,
            final=final,
            stories=0 if score is None else score.stories,
            learning_rate=self._rate(),
            grad_norm=self.norm,
            tokens_per_second=self.speed,
        )

    def _iterated(self, loss: float) -> Iterated:
        return Iterated(
            iteration=self.progress.iteration,
            total=self.progress.total,
            epoch=self.progress.iteration / self.session.batches.per_epoch,
            tokens=self.progress.tokens,
            seconds=self.clock.seconds,
            loss=loss,
            learning_rate=self._rate(),
            grad_norm=self.norm or 0.0,
            tokens_per_second=self.speed or 0.0,
        )

    def _rate(self) -> float:
        """The learning rate of the last iteration."""
        return learning_rate(max(0, self.progress.iteration - 1), self.config.learning_rate, self.config.warmup, self.progress.total)

    def _check(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise StorytellerError(
                f"the loss is no number any more at iteration {self.progress.iteration}: the learning rate is too high for this network",
                f"--learning-rate {self.config.learning_rate / 3:.2g}; what was saved before is in {self.directory.path}",
            )


def train(config: Config | None = None, *, corpus: EncodedCorpus | None = None) -> TrainResult:
    """Train to the end with plain lines of progress on stderr; see :func:`train_events`.

    A bare ``train()`` trains with the :class:`Config` that was made or changed last and prints the settings that it uses.
    Ctrl-C or SIGTERM saves, ends the training and raises KeyboardInterrupt; a second one stops at once.
    """
    config = config or Config.last() or Config(preset=auto_preset())
    writer = LineWriter()
    result = None
    with Interrupt() as interrupt:
        for event in train_events(config, corpus=corpus, stop=interrupt.requested):
            settings = [settings_line(event)] if isinstance(event, Planned) else []
            for line in [*settings, *writer.lines(event)] if is_main_process() else []:
                sys.stderr.write(line + "\n")
            if isinstance(event, Finished):
                result = event.result
    if interrupt.requested():
        raise KeyboardInterrupt
    if result is None:
        raise StorytellerError("the training ended without a result")
    return result
