"""Finding copies in ``parked``, on real Kafka."""

from __future__ import annotations

from aiokafka import AIOKafkaProducer, TopicPartition
from tests.integration.egress.bridge import Bridge, order_id
from tests.integration.egress.conftest import MakeBridge, rest_system
from tests.integration.egress.destinations import RestDestination
from tests.integration.egress.plans import freeze, start, until_ended
from tests.integration.egress.test_replay import delete_below

from linkspan.egress.own.copies import Copies
from linkspan.egress.partition.releases import Wanted
from linkspan.kernel.kafka.clients import KafkaClients
from linkspan.kernel.topics import Headers

KEY, OTHER = b"k", b"other"


async def park(made: Bridge, *copies: tuple[bytes, int]) -> None:
    """Of these keys and event offsets."""
    async with AIOKafkaProducer(bootstrap_servers=made.bootstrap) as producer:
        for key, offset in copies:
            headers = [(Headers.PARKED_KEY, key), (Headers.PARKED_KIND, b"held")]
            await producer.send_and_wait(made.topics.parked, b"x", b"%d" % offset, 0, headers=headers)


async def test_a_key_that_is_released_again_is_read_from_its_newest_letter_on_while_others_still_drain(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    """Its letter was refused again after all that waited was handed over, and something else had come."""
    made = await bridge(rest_system(rest), partitions=1)
    found = Copies(KafkaClients(made.bootstrap), TopicPartition(made.topics.parked, 0))

    async def handed(after: int, last: int, begun: int) -> list[tuple[int, int]]:
        draining = Wanted(OTHER, 1, 2, 0, 50, 1)
        copies = await found.next([Wanted(KEY, after, last, 0, 50, begun), draining])
        assert [copy.offset for copy in copies[OTHER]] == [2]
        return [(copy.offset, copy.at) for copy in copies[KEY]]

    try:
        await park(made, (OTHER, 2), (KEY, 10), (KEY, 11), (KEY, 12))
        assert await handed(9, 12, 2) == [(10, 1), (11, 2), (12, 3)]
        await park(made, (KEY, 15))
        assert await handed(12, 15, 2) == [(15, 4)]
        await park(made, (KEY, 10))
        assert await handed(9, 15, 3) == [(10, 5), (11, 2), (12, 3), (15, 4)]
    finally:
        await found.close()


async def test_letters_of_more_bytes_than_are_read_in_one_go_are_all_replayed(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    rest.reply = lambda _got: 422
    made = await bridge(rest_system(rest), partitions=1, on_dead_letter="continue")
    await made.append(*((order_id(number), number) for number in range(60)), text="x" * 250_000)
    async with made.serving():
        await made.wait_outcomes(60, seconds=60)
        plan = await freeze(made)
        await delete_below(made, 60)
        rest.reply = lambda _got: 201
        await start(made, plan)
        found = await until_ended(made, plan)
    assert found.counts == {"delivered": 60}
