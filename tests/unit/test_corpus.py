"""``prepare``: what is kept, where it goes, what the report says, and what is in the cache afterwards."""

import json
import os
import random
import time
import tracemalloc
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from storyteller.engine.tokenizer import Tokenizer
from storyteller.errors import ConfigInvalid, CorpusEmpty, DataInvalid, StorytellerError
from storyteller.training import corpus, sources
from storyteller.training.cleaning import story_keys
from storyteller.training.corpus import CorpusReport, EncodedCorpus, Source, prepare
from storyteller.training.encoding import SplitCounts
from storyteller.training.hub import Revision

WORDS = [
    "Tom",
    "Lily",
    "cat",
    "dog",
    "sat",
    "ran",
    "house",
    "tree",
    "big",
    "little",
    "happy",
    "blue",
    "red",
    "saw",
    "found",
    "went",
    "with",
    "and",
    "the",
    "a",
]
BYTES = Tokenizer.train([], 257)


def tale(number: int, words: int = 40) -> str:
    random_words = random.Random(number).choices(WORDS, k=words)
    return f"Tale {number}: {' '.join(random_words)}."


def tales(first: int, last: int) -> list[str]:
    return [tale(number) for number in range(first, last)]


def jsonl(path: Path, texts: list[str], **options: object) -> Source:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return Source(kind="file", location=str(path), **options)  # type: ignore[arg-type]


def stories(corpus: EncodedCorpus, split: str = "train") -> list[str]:
    """The stories of a stream, in their order."""
    ids = getattr(corpus, split)
    ends = np.flatnonzero(ids == corpus.tokenizer.end_id)
    assert ends[0] == 0
    assert ends[-1] == len(ids) - 1
    return [corpus.tokenizer.decode(ids[start + 1 : end].tolist()) for start, end in pairwise(ends)]


def adds_up(report: CorpusReport) -> bool:
    return all(source.read == source.train + source.valid + sum(source.dropped.values()) for source in report.sources)


@pytest.fixture
def ready(tmp_path: Path) -> Callable[..., EncodedCorpus]:
    def prepared(*train: Source, valid: list[Source] | None = None, **options: object) -> EncodedCorpus:
        return prepare(train, valid, cache_dir=tmp_path / "cache", **{"tokenizer": BYTES, **options})  # type: ignore[arg-type]

    return prepared


def test_every_story_is_on_one_side(tmp_path: Path, ready: Callable[..., EncodedCorpus]) -> None:
    made = ready(jsonl(tmp_path / "a.jsonl", tales(0, 500)), valid_share=0.2)
    train, valid = stories(made), stories(made, "valid")
    assert sorted(train + valid) == sorted(tales(0, 500))
    assert 60 < len(valid) < 140
    assert made.train_counts == SplitCounts(len(train), len(made.train) - 1, sum(len(text) for text in train))
    assert made.valid_counts == SplitCounts(len(valid), len(made.valid) - 1, made.valid_bytes)
    assert made.valid_bytes == sum(len(text) for text in valid)
    assert (made.report.train, made.report.valid, made.report.dropped) == (len(train), len(valid), {})
    assert adds_up(made.report)


def test_the_split_does_not_move_when_the_corpus_grows(tmp_path: Path, ready: Callable[..., EncodedCorpus]) -> None:
    small = ready(jsonl(tmp_path / "a.jsonl", tales(0, 300)), valid_share=0.2)
    source = jsonl(tmp_path / "b.jsonl", tales(250, 900))
    grown = ready(source, jsonl(tmp_path / "c.jsonl", tales(0, 300)), valid_share=0.2)
    assert set(stories(small)) <= set(stories(grown))
    assert set(stories(small, "valid")) <= set(stories(grown, "valid"))
    kept = set(stories(small))
    assert [text for text in stories(grown) if text in kept] == stories(small), "nor does the order"


def test_duplicates_go_and_never_cross_the_split(tmp_path: Path, ready: Callable[..., EncodedCorpus]) -> None:
    originals = [tale(number, 80) for number in range(200)]
    shouted = [text.upper() + "!" for text in originals]
    continued = [text + " And then?" for text in originals]
    made = ready(jsonl(tmp_path / "a.jsonl", originals + shouted + continued + originals), valid_share=0.3)
    assert made.report.dropped == {"duplicate": 400, "near-duplicate": 200}
    assert sorted(stories(made) + stories(made, "valid")) == sorted(originals)
    assert adds_up(made.report)
    other_way = ready(jsonl(tmp_path / "b.jsonl", continued + shouted), valid_share=0.3)
    sides = [{story_keys(text).head for text in stories(made_, split)} for made_ in (made, other_way) for split in ("train", "valid")]
    assert sides[:2] == sides[2:], "a near-duplicate is on the side of the story that it is like, whichever is met first"


def test_stories_are_cleaned_and_broken_ones_dropped(tmp_path: Path, ready: Callable[..., EncodedCorpus]) -> None:
    texts = ["“Hi,” said Zoe\u0308.\r\n", "It was a cafÃ©.", "Stopped in the", "Lost \ufffd here.", " ", *tales(0, 20)]
    made = ready(jsonl(tmp_path / "a.jsonl", texts))
    told = stories(made) + stories(made, "valid")
    assert {"“Hi,” said Zoë.", "It was a café."} <= set(told)
    (source,) = made.report.sources
    assert (source.read, source.mended, source.dropped) == (24, 1, {"cut off": 1, "damaged characters": 1})
    assert adds_up(made.report)


def test_text_without_end_punctuation_can_be_kept(tmp_path: Path, ready: Callable[..., EncodedCorpus]) -> None:
    poems = [f"Roses are red\nviolets are blue {number}" for number in range(30)]
    with pytest.raises(CorpusEmpty, match=r"too few stories are left: 30 read, 0 to train on.*30 cut off") as caught:
        ready(jsonl(tmp_path / "a.jsonl", poems))
    assert "--keep-cut-off" in caught.value.hint
    assert len(stories(ready(jsonl(tmp_path / "a.jsonl", poems, keep_cut_off=True)))) == 29


def test_given_validation_stories_stay_as_they_are(tmp_path: Path, ready: Callable[..., EncodedCorpus]) -> None:
    held = [" Zoe\u0308 was  cut off in the ", "“cafÃ©”", *tales(0, 10), tale(3)]
    held.append("A long beginning. " * 20 + "One end.")
    train = [*tales(5, 50), tale(7).upper(), "Zoë was cut off in the!", "A long beginning. " * 20 + "Another end."]
    made = ready(jsonl(tmp_path / "a.jsonl", train), valid=[jsonl(tmp_path / "v.jsonl", held)])
    assert stories(made, "valid") == held
    assert sorted(stories(made)) == sorted(tales(10, 50))
    assert made.report.dropped == {"in the validation data": 8}
    assert [source.valid for source in made.report.sources] == [0, 14]
    assert adds_up(made.report)


def test_a_small_corpus_holds_one_story_out(tmp_path: Path, ready: Callable[..., EncodedCorpus]) -> None:
    for weight in (1.0, 0.5, 3.0):
        made = ready(jsonl(tmp_path / "a.jsonl", tales(0, 5), weight=weight), valid_share=1e-9)
        assert len(stories(made, "valid")) == 1
        assert not set(stories(made)) & set(stories(made, "valid"))
        assert (made.report.train, made.report.valid) == (len(set(stories(made))), 1)
        assert made.report.sources[0].repeats == len(stories(made)) - made.report.train
        assert adds_up(made.report)
    with pytest.raises(CorpusEmpty, match="too few stories are left: 1 read, 1 to train on, 0 to measure on"):
        ready(jsonl(tmp_path / "b.jsonl", tales(0, 1)))


def test_weights_give_each_source_its_share(tmp_path: Path, ready: Callable[..., EncodedCorpus]) -> None:
    many, few = tales(0, 1000), tales(1000, 1200)
    made = ready(
        jsonl(tmp_path / "a.jsonl", many, weight=0.4),
        jsonl(tmp_path / "b.jsonl", few, weight=3),
        jsonl(tmp_path / "c.jsonl", tales(1200, 1300)),
        valid_share=0.1,
    )
    told, held = stories(made), stories(made, "valid")
    first, second, third = made.report.sources
    assert abs(len(set(told) & set(many)) / 360 - 1) < 0.1
    assert first.dropped == {"left out by weight": first.read - first.train - first.valid}
    assert all(told.count(text) == 3 for text in few if text not in held)
    assert second.repeats == 2 * second.train
    assert third.repeats == 0
    assert len(held) == len(set(held)) == made.report.valid
    assert made.train_counts.stories == made.report.train + second.repeats == len(told)
    assert adds_up(made.report)


def test_the_order_is_a_shuffle_owed_to_the_contents(tmp_path: Path, ready: Callable[..., EncodedCorpus]) -> None:
    one = ready(jsonl(tmp_path / "a.jsonl", tales(0, 300)))
    other = ready(jsonl(tmp_path / "b.jsonl", tales(0, 300)[::-1]))
    assert stories(one) == stories(other)
    places = [int(text.split()[1][:-1]) for text in stories(one)]
    assert abs(np.corrcoef(places, range(len(places)))[0, 1]) < 0.2


def test_max_stories(tmp_path: Path, ready: Callable[..., EncodedCorpus]) -> None:
    made = ready(jsonl(tmp_path / "a.jsonl", tales(0, 100), max_stories=30))
    assert made.report.read == 30
    assert set(stories(made) + stories(made, "valid")) == set(tales(0, 30))


def test_a_tokenizer_learns_from_the_training_stories(
    tmp_path: Path, ready: Callable[..., EncodedCorpus], monkeypatch: pytest.MonkeyPatch
) -> None:
    train = [text.replace(" ", " Pumpernickel ") for text in tales(0, 50)]
    held = [text.replace(" ", " Xylophone ") for text in tales(50, 80)]
    made = ready(jsonl(tmp_path / "a.jsonl", train), valid=[jsonl(tmp_path / "v.jsonl", held)], tokenizer=None, vocab_size=330)
    assert made.tokenizer.vocab_size == 330
    assert len(made.tokenizer.encode(" Pumpernickel")) == 1
    assert len(made.tokenizer.encode(" Xylophone")) > 3
    assert sorted(stories(made)) == sorted(train)
    learnt = ready(jsonl(tmp_path / "b.jsonl", tales(0, 50)), tokenizer=None, vocab_size=2000)
    monkeypatch.setattr(corpus, "TOKENIZER_BYTES", 300)
    hurried = ready(jsonl(tmp_path / "c.jsonl", tales(0, 51)), tokenizer=None, vocab_size=2000)
    assert 257 < hurried.tokenizer.vocab_size < learnt.tokenizer.vocab_size, "no more text is looked at than asked for"


def test_sample_trains_anywhere(tmp_path: Path) -> None:
    made = prepare([Source(kind="sample")], cache_dir=tmp_path, vocab_size=500)
    assert made.report.read == 2100
    assert made.report.train + made.report.valid == 2100
    assert str(made.report).startswith("sample: 2,100 read; ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vocab_size": 256, "tokenizer": None}, "vocab_size must be 257 to 65535, not 256"),
        ({"vocab_size": 65_536, "tokenizer": None}, "vocab_size must be 257 to 65535"),
        ({"valid_share": 0.0}, "valid_share must be above 0 and below 1"),
        ({"valid_share": 1.0}, "valid_share must be above 0 and below 1"),
        ({"valid": []}, "no source to measure on"),
    ],
)
def test_nonsense_is_refused(options: dict[str, object], message: str, ready: Callable[..., EncodedCorpus]) -> None:
    with pytest.raises(ConfigInvalid, match=message):
        ready(Source(kind="sample"), **options)
    with pytest.raises(ConfigInvalid, match="no source to train on"):
        ready()


class TestCache:
    def entries(self, tmp_path: Path) -> list[str]:
        root = tmp_path / "cache" / "corpus"
        return sorted(path.name for path in root.iterdir() if path.name != "file-hashes.json") if root.exists() else []

    def test_the_second_time_nothing_is_read(
        self, tmp_path: Path, ready: Callable[..., EncodedCorpus], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source = jsonl(tmp_path / "a.jsonl", tales(0, 100))
        first = ready(source)
        monkeypatch.setattr(corpus, "_build", None)
        second = ready(source)
        assert (first.cached, second.cached) == (False, True)
        assert first.key == second.key
        assert first.train.tolist() == second.train.tolist()
        assert first.valid.tolist() == second.valid.tolist()
        assert first.report == second.report
        assert first.tokenizer.to_str() == second.tokenizer.to_str()
        assert first.train_counts == second.train_counts
        assert (first.fingerprint.keys == second.fingerprint.keys).all()
        (tmp_path / "a.jsonl").rename(tmp_path / "moved.jsonl")
        moved = ready(Source(kind="file", location=str(tmp_path / "moved.jsonl")))
        assert moved.cached
        assert [source.name for source in moved.report.sources] == [str(tmp_path / "moved.jsonl")]

    def test_other_contents_and_options_are_another_corpus(self, tmp_path: Path, ready: Callable[..., EncodedCorpus]) -> None:
        source = jsonl(tmp_path / "a.jsonl", tales(0, 100))
        keys = {ready(source).key, ready(source, valid_share=0.5).key, ready(source, tokenizer=None, vocab_size=300).key}
        keys |= {ready(source, valid=[jsonl(tmp_path / "v.jsonl", tales(200, 210))]).key}
        keys |= {ready(jsonl(tmp_path / "a.jsonl", tales(1, 101))).key}
        assert len(keys) == 5
        assert self.entries(tmp_path) == sorted(keys)

    @pytest.mark.parametrize("name", ["train.bin", "valid.bin", "tokenizer.json", "corpus.json"])
    @pytest.mark.parametrize("damage", ["cut", "gone"])
    def test_a_damaged_entry_is_made_anew(self, name: str, damage: str, tmp_path: Path, ready: Callable[..., EncodedCorpus]) -> None:
        source = jsonl(tmp_path / "a.jsonl", tales(0, 100))
        first = ready(source)
        train, path = first.train.tolist(), tmp_path / "cache" / "corpus" / first.key / name
        content = path.read_bytes()
        path.unlink()
        if damage == "cut":
            path.write_bytes(content[:-4])
        again = ready(source)
        assert not again.cached
        assert again.train.tolist() == train
        assert path.read_bytes() == content
        assert self.entries(tmp_path) == [first.key]

    @pytest.mark.parametrize("bad", [b'{"text": "Hi.\n', b'{"text": "caf\xe9."}\n', b"\0\n", b'{"a": 1, "b": 2}\n'])
    def test_bad_input_is_named_and_leaves_nothing(self, bad: bytes, tmp_path: Path, ready: Callable[..., EncodedCorpus]) -> None:
        source = jsonl(tmp_path / "a.jsonl", tales(0, 50))
        with (tmp_path / "a.jsonl").open("ab") as file:
            file.write(bad)
        with pytest.raises(DataInvalid, match=r"a\.jsonl, line 51: "):
            ready(source)
        assert self.entries(tmp_path) == []

    @pytest.mark.parametrize("what", ["reading", "learning", "encoding"])
    def test_an_interruption_leaves_nothing(self, what: str, tmp_path: Path, ready: Callable[..., EncodedCorpus]) -> None:
        def interrupt(now: str, stories: int) -> None:
            if now.startswith(what):
                raise KeyboardInterrupt

        source = jsonl(tmp_path / "a.jsonl", [f"Tale number {number}." for number in range(1100)])
        with pytest.raises(KeyboardInterrupt):
            ready(source, progress=interrupt, tokenizer=None, vocab_size=300)
        assert self.entries(tmp_path) == []

    def test_hub_data_is_kept_by_revision(
        self, tmp_path: Path, ready: Callable[..., EncodedCorpus], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without the Hub, what was encoded of the revision seen last is found; a copy of unknown revision is never taken for it."""
        now = Revision("new", online=False)
        monkeypatch.setattr(sources, "revision_of", lambda hub_id, folder: now)
        monkeypatch.setattr(sources, "read_hub", lambda *where, **options: tales(0, 50) if now.online else tales(50, 100))
        source = Source(kind="hub", location="a/b")
        copy = ready(source)
        now = Revision("new", online=True)
        streamed = ready(source)
        assert (copy.cached, streamed.cached) == (False, False)
        assert copy.key != streamed.key
        assert set(stories(streamed)) < set(tales(0, 50))
        now = Revision("new", online=False)
        again = ready(source)
        assert (again.cached, again.key) == (True, streamed.key)

    def test_two_processes_at_once(self, tmp_path: Path, ready: Callable[..., EncodedCorpus]) -> None:
        source = jsonl(tmp_path / "a.jsonl", tales(0, 100))
        others: list[EncodedCorpus] = []

        def another_is_quicker(what: str, stories: int) -> None:
            if what == "encoding" and not others:
                others.append(ready(source))

        ours = ready(source, progress=another_is_quicker)
        assert not others[0].cached
        assert ours.train.tolist() == others[0].train.tolist()
        assert self.entries(tmp_path) == [ours.key]

    def test_what_a_killed_process_left_goes_after_a_day(self, tmp_path: Path, ready: Callable[..., EncodedCorpus]) -> None:
        root = tmp_path / "cache" / "corpus"
        yesterday = time.time() - 25 * 3600
        for name, when in {".building-old": yesterday, ".building-busy": time.time()}.items():
            (root / name).mkdir(parents=True)
            (root / name / "train.text").write_text("half a")
            os.utime(root / name / "train.text", (when, when))
            os.utime(root / name, (yesterday, yesterday))
        made = ready(jsonl(tmp_path / "a.jsonl", tales(0, 20)))
        assert self.entries(tmp_path) == [".building-busy", made.key]

    def test_a_cache_that_cannot_be_written(self, tmp_path: Path, ready: Callable[..., EncodedCorpus]) -> None:
        (tmp_path / "cache").write_text("a file, where the folder should be")
        with pytest.raises(StorytellerError, match="could not write the encoded corpus to") as caught:
            ready(Source(kind="sample"))
        assert "STORYTELLER_CACHE_DIR" in caught.value.hint


def test_progress_is_heard(tmp_path: Path, ready: Callable[..., EncodedCorpus]) -> None:
    heard: list[tuple[str, int]] = []
    texts = [f"Tale number {number}." for number in range(2500)]
    ready(jsonl(tmp_path / "a.jsonl", texts), tokenizer=None, vocab_size=300, progress=lambda what, stories: heard.append((what, stories)))
    reading = f"reading {tmp_path / 'a.jsonl'}"
    assert heard[:2] == [(reading, 1000), (reading, 2000)]
    assert [what for what, _ in heard[2:]] == ["learning the vocabulary", "encoding", "encoding", "encoding"]


def test_the_fingerprint_knows_what_was_trained_on(tmp_path: Path, ready: Callable[..., EncodedCorpus]) -> None:
    made = ready(jsonl(tmp_path / "a.jsonl", tales(0, 200)), valid_share=0.3)
    assert made.fingerprint.stories == made.report.train
    assert made.fingerprint.overlap(stories(made)) == 1.0
    assert made.fingerprint.overlap(stories(made, "valid")) == 0.0
    assert list(made.fingerprint.files.values()) == ["a.jsonl"]


def test_the_report_speaks(tmp_path: Path, ready: Callable[..., EncodedCorpus]) -> None:
    (tmp_path / "tale.txt").write_text("\n\n".join([*tales(0, 40), "Stopped in"]))
    path = str(tmp_path / "tale.txt")
    made = ready(Source(kind="file", location=path, weight=2), valid=[jsonl(tmp_path / "v.jsonl", tales(0, 5))])
    assert str(made.report).splitlines() == [
        f"{path}: 41 read; 35 to train on (and 35 repeats); dropped: 5 in the validation data, 1 cut off.",
        f"{tmp_path / 'v.jsonl'}: 5 read; 5 to measure on.",
        "In all: 46 read, 35 to train on, 5 to measure on.",
        f"{path}: stories parted by blank-lines.",
    ]
    assert CorpusReport.from_json(json.loads(json.dumps(made.report.to_json()))) == made.report


def test_memory_stays_flat(tmp_path: Path, ready: Callable[..., EncodedCorpus]) -> None:
    """A story costs less than 100 bytes of memory, whatever its length: these have 400."""

    def peak(count: int) -> int:
        source = jsonl(tmp_path / f"{count}.jsonl", [f"Tale {number} of {count}: " + "x" * 380 + "." for number in range(count)])
        tracemalloc.start()
        try:
            made = ready(source)
            assert made.report.read == count
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert (peak(12_000) - peak(3_000)) / 9_000 < 100
