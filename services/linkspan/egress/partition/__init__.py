"""The pure logic of one partition: records, answers, acks and ticks go in, effects come out. No I/O, no clock."""
