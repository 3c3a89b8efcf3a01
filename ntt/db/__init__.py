"""PostgreSQL: the catalogue; the only package that imports asyncpg."""
