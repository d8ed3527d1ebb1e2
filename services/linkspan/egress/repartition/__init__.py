"""A flow copied into topics with another number of partitions, while nothing runs. docs/decisions/0026"""
