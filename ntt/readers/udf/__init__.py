"""UDF on discs, sticks and packet-written media."""
