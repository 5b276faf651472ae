"""``clsl people``, ``clsl token`` and ``clsl audit``: who may do what, and who did."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from app.cli.console import err, opened, out, print_json, print_table
from app.cli.options import MOST_EVENTS, AsJson, Heading

people_cli = typer.Typer(help="People and their roles.", no_args_is_help=True)
token_cli = typer.Typer(help="Tokens with which scripts call the routes.", no_args_is_help=True)


def register(cli: typer.Typer) -> None:
    """Add the commands."""
    cli.add_typer(people_cli, name="people", rich_help_panel=Heading.PEOPLE)
    cli.add_typer(token_cli, name="token", rich_help_panel=Heading.PEOPLE)
    cli.command(rich_help_panel=Heading.PEOPLE)(audit)


@people_cli.command("list")
def list_people(context: typer.Context, as_json: AsJson = False) -> None:
    """Everybody who is known, with their role."""
    from app.services.people import people

    with opened(context.obj) as workspace:
        found = people.everybody(workspace)
    if as_json:
        print_json([asdict(one) for one in found])
        return
    rows = [
        [one.name, one.role, "" if one.active else "off", one.email or "", one.issuer or ""]
        for one in found
    ]
    print_table(["name", "role", "state", "e-mail", "signs in at"], rows)


@people_cli.command("role")
def role(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Whose.", show_default=False)],
    role: Annotated[
        str, typer.Argument(help="viewer, annotator, reviewer or admin.", show_default=False)
    ],
) -> None:
    """Give somebody a role; who is not known yet becomes known."""
    from app.services.people import people

    with opened(context.obj) as workspace:
        person = people.set_role(workspace, name, role)
    out.print(f"{person.name} is {person.role}")


@people_cli.command("off")
def off(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Whom.", show_default=False)],
) -> None:
    """Switch somebody off: from now on they may do and see nothing; what they did stays."""
    from app.services.people import people

    with opened(context.obj) as workspace:
        person = people.switch(workspace, name, on=False)
    out.print(f"{person.name} is switched off")


@people_cli.command("on")
def on(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Whom.", show_default=False)],
) -> None:
    """Switch somebody on again, with the role they had."""
    from app.services.people import people

    with opened(context.obj) as workspace:
        person = people.switch(workspace, name, on=True)
    out.print(f"{person.name} is switched on and is {person.role}")


@people_cli.command("link")
def link(
    context: typer.Context,
    newcomer: Annotated[str, typer.Argument(help="Who signed in.", show_default=False)],
    known: Annotated[str, typer.Argument(help="As whom from now on.", show_default=False)],
) -> None:
    """Say that somebody who signed in is a person known by name from before."""
    from app.services.people import people

    with opened(context.obj) as workspace:
        person = people.link(workspace, newcomer, known)
    out.print(f"{newcomer} signs in as {person.name}, who is {person.role}")


@token_cli.command("create")
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What it is for.", show_default=False)],
    annotator: Annotated[str, typer.Option(help="As whom the script acts.", show_default=False)],
    days: Annotated[
        int | None, typer.Option(help="After how many it ends; never by itself without.")
    ] = None,
) -> None:
    """Make a token. It is shown once and never again."""
    from app.services.people import api_tokens

    with opened(context.obj) as workspace:
        token = api_tokens.create(workspace, name, annotator, days)
    err.print("keep it: it is shown this once (Authorization: Bearer …, X-CLSL-Dataset: NAME)")
    out.print(token)


@token_cli.command("list")
def list_tokens(context: typer.Context, as_json: AsJson = False) -> None:
    """All tokens, without what is secret about them."""
    from app.services.people import api_tokens

    with opened(context.obj) as workspace:
        found = api_tokens.tokens(workspace)
    rows = [
        {
            "id": one.id,
            "name": one.name,
            "annotator": one.annotator,
            "created": one.created_at.isoformat(timespec="seconds"),
            "ends": one.expires_at.isoformat(timespec="seconds") if one.expires_at else "",
            "used": one.last_used_at.isoformat(timespec="seconds") if one.last_used_at else "",
            "revoked": one.revoked_at.isoformat(timespec="seconds") if one.revoked_at else "",
        }
        for one in found
    ]
    if as_json:
        print_json(rows)
        return
    columns = ["id", "name", "annotator", "created", "ends", "used", "revoked"]
    print_table(columns, [[row[column] for column in columns] for row in rows])


@token_cli.command("revoke")
def revoke(
    context: typer.Context,
    id_: Annotated[int, typer.Argument(metavar="ID", help="From the list.", show_default=False)],
) -> None:
    """End a token at once."""
    from app.services.people import api_tokens

    with opened(context.obj) as workspace:
        api_tokens.revoke(workspace, id_)
    out.print(f"token {id_} is revoked")


def audit(
    context: typer.Context,
    limit: Annotated[int, typer.Option(help="How many.", min=1, max=MOST_EVENTS)] = 50,
    as_json: AsJson = False,
) -> None:
    """Who did what, the newest first. Verdicts are in the History of each person."""
    from app.services.access import audit_log

    with opened(context.obj) as workspace:
        found = audit_log.events(workspace.database, limit)
    if as_json:
        print_json(
            [
                {
                    "id": one.id,
                    "at": one.at.isoformat(),
                    "actor": one.actor,
                    "action": one.action,
                    "subject": one.subject,
                    "details": one.details,
                }
                for one in found
            ]
        )
        return
    print_table(
        ["when", "who", "what", "on"],
        [[f"{one.at:%Y-%m-%d %H:%M:%S}", one.actor, one.action, one.subject] for one in found],
    )
