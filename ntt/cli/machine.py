"""Commands about this machine and its database: doctor, db."""

from __future__ import annotations

import typer

from ntt import text
from ntt.app import running_database_url, upgrade_database
from ntt.cli.base import EPILOG, DatabaseUrl, Home, Json, cli, complain, run, say, say_json, settings_of
from ntt.db.embedded import stop_embedded_server
from ntt.errors import EXIT_OK, EXIT_PROBLEMS, EXIT_USAGE
from ntt.operations.doctor import doctor as look_around

db = typer.Typer(help="The database: upgrade its schema, say its URL, stop the embedded server.", epilog=EPILOG)
cli.add_typer(db, name="db")


@cli.command(epilog=EPILOG)
def doctor(home: Home = None, database: DatabaseUrl = None, json: Json = False) -> None:
    """Is this machine ready, and what is to be installed? Exit 1 when something needed is missing."""
    settings = settings_of(home, database)
    report = run(lambda _: look_around(settings))
    if json:
        say_json(report)
    else:
        for line in text.doctor_lines(report):
            say(line)
    raise typer.Exit(EXIT_OK if report.ready else EXIT_PROBLEMS)


@db.command(epilog=EPILOG)
def upgrade(home: Home = None, database: DatabaseUrl = None) -> None:
    """Bring the schema to this program's version; an empty database gets it."""
    settings = settings_of(home, database)
    before, after = run(lambda _: upgrade_database(settings))
    say(f"the schema is version {after}" + (f", it was {before}" if before not in (0, after) else ""))


@db.command(epilog=EPILOG)
def url(home: Home = None, database: DatabaseUrl = None) -> None:
    """The URL of the database: `psql "$(ntt db url)"`. The embedded server then runs until `ntt db stop`."""
    settings = settings_of(home, database)
    say(run(lambda _: running_database_url(settings)))


@db.command(epilog=EPILOG)
def stop(home: Home = None, database: DatabaseUrl = None) -> None:
    """Stop the embedded server where a killed process left it running."""
    settings = settings_of(home, database)
    if settings.database_url is not None:
        complain("a named server is not NTT's to stop")
        raise typer.Exit(EXIT_USAGE)
    stopped = run(lambda _: stop_embedded_server(settings.home, settings.postgres_user))
    say("stopped" if stopped else "it was not running")
