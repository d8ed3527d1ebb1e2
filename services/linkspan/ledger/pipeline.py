"""What came of some streams is folded, and committed with how far that is."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection

from linkspan.ledger.conversation import store_conversations
from linkspan.ledger.fold import Fold
from linkspan.ledger.gather import Said
from linkspan.ledger.said import OutcomeSaid
from linkspan.ledger.store import Ends, advance, commit, commit_range
from linkspan.ledger.streams import Name, Stream
from linkspan.readmodel.database import Database


class Folding:
    """Blocks: it runs in a thread. After any error the streams have to be loaded again."""

    def __init__(self, database: Database, streams: Mapping[Name, Stream]) -> None:
        self._database, self._streams = database, streams

    def fold(self, said: Mapping[Name, Said], ends: Mapping[int, Ends]) -> None:
        """Raises DatabaseAway, Closed."""
        for part in _parts(said):
            with self._database.reading() as connection:
                folds = {self._streams[name].number: self._folded(connection, name, one) for name, one in part.items()}
            with self._database.writing() as connection:
                self.store(connection, part, folds, ends)
            self.done(folds)

    def fold_within(self, connection: Connection, said: Mapping[Name, Said]) -> None:
        """The same in a transaction of the caller, who has to commit it."""
        for part in _parts(said):
            folds = {self._streams[name].number: self._folded(connection, name, one) for name, one in part.items()}
            self.store(connection, part, folds, {})
            self.done(folds)

    def store(
        self,
        connection: Connection,
        said: Mapping[Name, Said],
        folds: Mapping[int, Fold],
        ends: Mapping[int, Ends],
    ) -> None:
        commit(connection, folds, ends)
        for name, one in said.items():
            stream = self._streams[name]
            store_conversations(connection, stream.number, one.conversations)
            for outcome in one.outcomes:
                if outcome.expires:
                    self._whole_range(connection, stream, folds[stream.number], outcome)

    def done(self, folds: Mapping[int, Fold]) -> None:
        """They are committed."""
        for stream in self._streams.values():
            fold = folds.get(stream.number)
            if fold is not None:
                stream.progress = fold.progress
                stream.remember(fold.new.values())
                stream.remember(fold.changed.values())
                if fold.ranged:
                    stream.forget()

    def _folded(self, connection: Connection, name: Name, said: Said) -> Fold:
        stream = self._streams[name]
        wanted = {one.event for one in said.events} | {one.event for one in said.outcomes if one.event >= 0}
        fold = Fold(stream.number, stream.progress, stream.known(connection, wanted), stream.ranges)
        for event in said.events:
            fold.event(event)
        for outcome in said.outcomes:
            if not outcome.expires:
                fold.outcome(outcome)
        if said.position is not None:
            fold.position(said.position.events, said.position.outcomes)
        fold.read(said.state, said.conversations_read)
        fold.skip_to(said.events_read, said.outcomes_read)
        fold.finish()
        return fold

    def _whole_range(self, connection: Connection, stream: Stream, fold: Fold, said: OutcomeSaid) -> None:
        """It is the last of its part."""
        alone = Fold(stream.number, fold.progress, {}, stream.ranges)
        found = alone.whole_range(said)
        alone.finish()
        if found is None:
            advance(connection, stream.number, alone.before, alone.progress, Ends())
        else:
            stream.ranges.append(commit_range(connection, stream, alone, found))
        fold.progress, fold.ranged = alone.progress, True


def _parts(said: Mapping[Name, Said]) -> list[dict[Name, Said]]:
    """One, but where ranges expired: each of those ends a part of its stream."""
    parts: list[dict[Name, Said]] = [{}]
    for name, one in said.items():
        cuts = [index + 1 for index, outcome in enumerate(one.outcomes) if outcome.expires]
        if not cuts:
            parts[0][name] = one
            continue
        for place, (start, end) in enumerate(zip([0, *cuts], [*cuts, len(one.outcomes)], strict=True)):
            if place == len(parts):
                parts.append({})
            part = Said(outcomes=one.outcomes[start:end])
            if place == 0:
                part.events, part.conversations = one.events, one.conversations
                part.conversations_read = one.conversations_read
            if place == len(cuts):
                part.position, part.state = one.position, one.state
                part.events_read, part.outcomes_read = one.events_read, one.outcomes_read
            parts[place][name] = part
    return parts
