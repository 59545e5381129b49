"""pflag's grammar: where values are, and the contract's complaints."""

import click
import pytest

from tyger.cli import groups


def parse(*arguments, **settings):
    seen = {}

    @click.command(cls=groups.Command, **settings)
    @click.argument("names", nargs=-1)
    @click.option("-f", "--file")
    @click.option("-l", "--limit", "limits", multiple=True)
    @click.option("-w", "--write", is_flag=True)
    @click.option("-x", "--extra", is_flag=True)
    @click.option("--follow/--no-follow", default=True)
    @click.option("--mode", type=click.Choice(["a", "b"]), default="a")
    def command(**values):
        seen.update(values)

    command.main(list(arguments), standalone_mode=False)
    default = {"names": (), "file": None, "limits": (), "write": False, "extra": False, "follow": True}
    return {name: value for name, value in seen.items() if value != {**default, "mode": "a"}[name]}


@pytest.mark.parametrize(
    ("arguments", "values"),
    [
        ([], {}),
        (["a", "b"], {"names": ("a", "b")}),
        (["--file", "x"], {"file": "x"}),
        (["--file=x"], {"file": "x"}),
        (["--file="], {"file": ""}),
        (["--file=a=b"], {"file": "a=b"}),
        (["--file", "--write"], {"file": "--write"}),
        (["--file", "--"], {"file": "--"}),
        (["--file", "x", "--file", "y"], {"file": "y"}),
        (["-f", "x"], {"file": "x"}),
        (["-fx"], {"file": "x"}),
        (["-f=x"], {"file": "x"}),
        (["-f=a=b"], {"file": "a=b"}),
        (["-f", "-w"], {"file": "-w"}),
        (["-wf", "x"], {"write": True, "file": "x"}),
        (["-wxfy"], {"write": True, "extra": True, "file": "y"}),
        (["-w"], {"write": True}),
        (["-w=true"], {"write": True}),
        (["-w=false"], {}),
        (["--write", "true"], {"write": True, "names": ("true",)}),
        (["--write=true"], {"write": True}),
        (["--write=1"], {"write": True}),
        (["--write", "--write=F"], {}),
        (["--no-follow"], {"follow": False}),
        (["--follow=false"], {"follow": False}),
        (["--no-follow=false"], {}),
        (["-l", "1", "a", "--limit=2", "-l3"], {"limits": ("1", "2", "3"), "names": ("a",)}),
        (["a", "-w", "b", "--", "-x", "--", "c"], {"write": True, "names": ("a", "b", "-x", "--", "c")}),
        (["-", "a"], {"names": ("-", "a")}),
        (["", "a"], {"names": ("", "a")}),
    ],
)
def test_values(arguments, values):
    assert parse(*arguments) == values


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--fill"], "unknown flag: --fill (did you mean --file?)"),
        (["--zzz=1"], "unknown flag: --zzz"),
        (["-z"], "unknown shorthand flag: 'z' in -z"),
        (["-wz"], "unknown shorthand flag: 'z' in -wz"),
        (["-extra"], "unknown shorthand flag: 'e' in -extra (did you mean --extra?)"),
        (["-mode=a"], "unknown shorthand flag: 'm' in -mode=a (did you mean --mode?)"),
        (["--zone"], "unknown flag: --zone"),
        (["-1"], "unknown shorthand flag: '1' in -1"),
        (["--file"], "flag needs an argument: --file"),
        (["-f"], "flag needs an argument: 'f' in -f"),
        (["-wf"], "flag needs an argument: 'f' in -wf"),
        (["--=x"], "bad flag syntax: --=x"),
        (["---x"], "bad flag syntax: ---x"),
        (
            ["--write=maybe"],
            'invalid argument "maybe" for "-w, --write" flag: "maybe" is neither true nor false',
        ),
        (["-w=x y"], 'invalid argument "x y" for "-w, --write" flag: "x y" is neither true nor false'),
    ],
)
def test_complaints(arguments, complaint):
    with pytest.raises(click.UsageError) as caught:
        parse(*arguments)
    assert str(caught.value) == complaint


def test_several_arguments():
    seen = []

    @click.command(cls=groups.Command)
    @click.argument("first")
    @click.argument("rest", nargs=-1)
    @click.argument("last")
    def command(first, rest, last):
        seen.append((first, rest, last))

    command.main(["a", "b"], standalone_mode=False)
    command.main(["a", "b", "c", "d"], standalone_mode=False)
    assert seen == [("a", (), "b"), ("a", ("b", "c"), "d")]
    with pytest.raises(click.MissingParameter):
        command.main(["a"], standalone_mode=False)
