"""`tyger login`, `tyger logout` and `tyger login status`: every message, and the file that is left behind."""

import json
import subprocess
import sys

import pytest

from tests.support import cli
from tyger import __main__ as program


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A home of its own, in which nobody has logged in; the login file in it."""
    for name in ("TYGER_SOCKET", "TYGER_SOCKET_PATH", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "cache/login"
    monkeypatch.setenv("TYGER_CACHE_FILE", str(file))
    monkeypatch.setenv("TYGER_AUTOSTART", "0")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return file


@pytest.fixture
def tyger(place, capfd):
    """A command as a user types it: nothing names a socket."""

    def call(*arguments):
        capfd.readouterr()
        code = program.run([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return cli.Done(code, out, err)

    return call


def silent(done):
    return (done.code, done.out, done.err) == (0, "", "")


def test_a_login_at_a_socket(tyger, daemon, place):
    assert silent(tyger("login", f"unix://{daemon.path}"))
    assert place.read_text() == f"proxy: auto\nserverUrl: 'http+unix://{daemon.path}:'\n"
    assert place.stat().st_mode & 0o777 == 0o600
    [request] = daemon.requests
    assert (request.method, request.path, request.query) == ("GET", "/metadata", [])
    assert tyger("buffer", "create").out
    assert tyger("login", "status").out == f"You are logged in to unix://{daemon.path}\n"


def test_status_as_json(tyger, daemon):
    tyger("login", f"unix://{daemon.path}", "--proxy", "host:1")
    answer = json.loads(tyger("login", "status", "--format", "json").out)
    assert answer == {
        "serverUrl": f"http+unix://{daemon.path}:",
        "proxy": "http://host:1",
        "metadata": {"apiVersions": ["1.0"]},
    }
    assert tyger("login", "status").out.endswith(" using proxy server http://host:1\n")
    assert json.loads(tyger("--log-level", "error", "login", "status", "--output", "json").out) == answer


def test_status_without_a_login(tyger, daemon, place):
    done = tyger("--socket", daemon.path, "login", "status")
    assert done.out == f"You are logged in to unix://{daemon.path}\n"
    assert not daemon.requests
    assert (
        tyger("login", "status").out
        == f"You are logged in to unix://{place.parents[1]}/run/tyger/tyger.sock\n"
    )


def test_status_as_json_without_a_server(tyger, daemon):
    daemon.answers["GET", "/metadata"] = (500, {"error": {"code": "InternalError", "message": "no"}})
    done = tyger("login", "status", "--format", "json", "--socket", daemon.path)
    assert (done.code, done.err) == (70, "Error: failed to get service metadata: no\n")


def test_status_of_a_login_that_cannot_be_reached(tyger, place):
    place.parent.mkdir()
    place.write_text("serverUrl: https://host\nprincipal: me@x\nproxy: none\n")
    assert tyger("login", "status").out == "You are logged in to https://host as 'me@x'\n"
    done = tyger("login", "status", "--format", "json")
    assert done.code == 69
    assert done.err.startswith(
        "Error: failed to get service metadata: this version of tyger cannot reach https://host"
    )
    done = tyger("buffer", "show", "x")
    assert done.code == 69
    assert done.err.startswith("Error: this version of tyger cannot reach https://host")


def test_logged_out(tyger, daemon, place):
    tyger("login", f"unix://{daemon.path}")
    assert silent(tyger("logout"))
    assert place.read_text() == 'serverUrl: ""\n'
    for command in (["buffer", "show", "x"], ["login", "status"], ["status"]):
        done = tyger(*command)
        assert done.code == 69
        assert done.err.startswith("Error: run 'tyger login' to connect to a Tyger server")
        assert done.err.count("\n") == 1
    assert silent(tyger("logout"))
    assert tyger("version").code == 0
    assert tyger("--socket", daemon.path, "buffer", "create").code == 0
    assert silent(tyger("login", f"unix://{daemon.path}"))
    assert tyger("buffer", "create").code == 0


def test_logging_out_where_nobody_was_logged_in(tyger, place):
    assert silent(tyger("logout"))
    assert place.read_text() == 'serverUrl: ""\n'


@pytest.mark.parametrize("words", [["--local"], ["local"], ["--local", "--proxy", "none"]])
def test_local_is_this_machines_daemon(tyger, daemon, place, words):
    assert silent(tyger("--socket", daemon.path, "login", *words))
    assert f"serverUrl: 'http+unix://{daemon.path}:'\n" in place.read_text()


def test_local_without_a_daemon(tyger, place):
    done = tyger("login", "local")
    assert done.code == 69
    assert "TYGER_AUTOSTART=0" in done.err
    assert not place.exists()


def test_local_is_what_the_originals_variable_names(tyger, daemon, place, monkeypatch):
    monkeypatch.setenv("TYGER_SOCKET_PATH", daemon.path)
    assert silent(tyger("login", "local"))
    assert daemon.path in place.read_text()


def test_a_relative_socket(tyger, daemon, place, monkeypatch):
    directory, _, name = daemon.path.rpartition("/")
    monkeypatch.chdir(directory)
    assert silent(tyger("login", f"unix://{name}"))
    assert daemon.path in place.read_text()


def test_a_variable_that_goes_before_the_login_is_told(tyger, daemon, monkeypatch):
    monkeypatch.setenv("TYGER_SOCKET", daemon.path)
    done = tyger("login", f"unix://{daemon.path}")
    assert (done.code, done.err.partition(" WRN ")[2]) == (
        0,
        "TYGER_SOCKET is set, and goes before the login.\n",
    )


def test_what_the_server_says_is_kept(tyger, daemon, place):
    daemon.answers["GET", "/metadata"] = (
        200,
        {
            "audience": "a",
            "cliAppId": "i",
            "cliAppUri": "u",
            "authority": "",
            "unknown": [1],
            "rbacEnabled": True,
        },
    )
    assert silent(tyger("login", f"unix://{daemon.path}", "--tls-certificates", "os"))
    assert place.read_text() == (
        "audience: a\nclientAppUri: u\nclientId: i\nproxy: auto\n"
        f"serverUrl: 'http+unix://{daemon.path}:'\ntlsCaCertificates: os\n"
    )


def test_another_login_leaves_nothing_of_the_one_before_it(tyger, daemon, place):
    place.parent.mkdir()
    place.write_text("serverUrl: https://host\nlastToken: secret\nfullCache: secret\nmine: x\n")
    tyger("login", f"unix://{daemon.path}")
    assert place.read_text() == f"proxy: auto\nserverUrl: 'http+unix://{daemon.path}:'\n"


def test_the_same_login_again_keeps_what_others_wrote(tyger, daemon, place):
    tyger("login", f"unix://{daemon.path}")
    place.write_text(place.read_text() + "lastToken: secret\nmine: x\n")
    tyger("login", f"unix://{daemon.path}")
    assert place.read_text() == f"mine: x\nproxy: auto\nserverUrl: 'http+unix://{daemon.path}:'\n"


def test_a_broken_login_file(tyger, daemon, place):
    place.parent.mkdir()
    place.write_text("{")
    done = tyger("buffer", "show", "x")
    assert (done.code, done.err.count("\n")) == (78, 1)
    assert f"cannot read the login file {place}: line 1" in done.err
    assert silent(tyger("login", f"unix://{daemon.path}"))
    assert tyger("buffer", "create").code == 0


# --- mistakes ---------------------------------------------------------------------------------------------

CERT = "--cert-file and --cert-thumbprint cannot be used with"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "either a server URL, --file, or --local must be specified"),
        (["a", "b"], "too many arguments"),
        (["--local", "a"], "--local cannot be specified with a server address"),
        (["--local", "-f", "x"], "the options --local and --file cannot be used together"),
        (["--local", "--github"], "the options --local and --github cannot be used together"),
        (["local", "-s", "x"], "the options --local and --service-principal cannot be used together"),
        (
            ["--local", "--tls-certificates", "os"],
            "the options --local and --tls-certificates cannot be used together",
        ),
        (["u", "-s", "x"], "--cert-file must be specified with --service-principal"),
        (["u", "-d", "-s", "x"], "--use-device-code cannot be used with --service-principal"),
        (["u", "-d", "--identity"], "--use-device-code cannot be used with --identity"),
        (["u", "-d", "--github"], "--use-device-code cannot be used with --github"),
        (["u", "--identity", "-s", "x"], "--identity cannot be used with --service-principal"),
        (["u", "--identity-client-id", "x"], "--identity-client-id can only be used with --identity"),
        (
            ["u", "--federated-identity", "x"],
            "--federated-identity can only be used with --identity or --github",
        ),
        (["u", "-c", "x"], "--cert-file can only be used with --service-principal"),
        (["u", "--github"], "--federated-identity must be specified with --github"),
        (["u", "-c", "x", "--identity"], f"{CERT} --identity"),
        (["u", "-c", "x", "--github"], f"{CERT} --github"),
        (["u", "-t", "x"], "--cert-thumbprint is not supported on this platform"),
        (["--nonsense"], "unknown flag: --nonsense"),
    ],
)
def test_command_lines_that_make_no_sense(tyger, place, words, message):
    done = tyger("login", *words)
    assert (done.code, done.out) == (64, "")
    assert done.err.splitlines()[0] == f"Error: {message}"
    assert done.err.splitlines()[1] == "Run 'tyger login --help' for usage."
    assert not place.exists()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["host"], 65, "a valid absolute URL is required"),
        (["ssh://"], 65, "invalid ssh URL: no host specified"),
        (["https://host"], 69, "this version of tyger cannot reach https://host"),
        (["http://localhost:6888"], 69, "this version of tyger cannot reach http://localhost:6888"),
        (["ssh://host"], 69, "this version of tyger cannot reach ssh://host"),
        (["docker://"], 69, "this version of tyger cannot reach docker://tyger-local-gateway"),
        (
            ["https://host", "--identity"],
            69,
            "--identity: this version of tyger cannot log in with Microsoft Entra",
        ),
        (["https://host", "-d"], 69, "--use-device-code: this version"),
        (["unix:///nowhere/s"], 69, "unable to connect to server: no daemon answers on /nowhere/s"),
        (["unix:///" + "x" * 200], 78, "the socket path"),
        (["unix:///s", "--proxy", "a b"], 65, "proxy must be 'auto', 'automatic', ''"),
        (["unix:///s", "--tls-certificates", "x"], 65, "failed to read CA certificate file: "),
    ],
)
def test_what_is_refused_stores_nothing(tyger, place, words, code, message):
    done = tyger("login", *words)
    assert (done.code, done.out, done.err.count("\n")) == (code, "", 1)
    assert done.err.startswith(f"Error: {message}")
    assert not place.exists()


@pytest.mark.parametrize(
    ("answers", "code", "message"),
    [
        (
            {"/metadata": (200, b"<html>\n"), "/v1/metadata": (404, {})},
            76,
            "the server URL does not appear to point to a valid tyger server: 200; <html>",
        ),
        (
            {"/metadata": (404, {}), "/v1/metadata": (200, {})},
            76,
            "the server hosts an older version of tyger",
        ),
        ({"/metadata": (200, [1]), "/v1/metadata": (500, {})}, 76, "the server URL does not appear"),
        (
            {"/metadata": (200, {"authority": "https://a"})},
            69,
            "unix://{} wants a login with Microsoft Entra",
        ),
    ],
)
def test_servers_that_are_none(tyger, daemon, place, answers, code, message):
    for path, answer in answers.items():
        daemon.answers["GET", path] = answer
    done = tyger("login", f"unix://{daemon.path}")
    assert (done.code, done.err.count("\n")) == (code, 1)
    assert done.err.startswith("Error: " + message.format(daemon.path))
    assert not place.exists()


# --- from a file ------------------------------------------------------------------------------------------


def test_a_login_file(tyger, daemon, place, tmp_path):
    (tmp_path / "l.yml").write_text(f"serverUri: unix://{daemon.path}\nproxy: none\nport: 7\nunknown: [x]\n")
    assert silent(tyger("login", "-f", tmp_path / "l.yml"))
    assert place.read_text() == f"proxy: none\nserverUrl: 'http+unix://{daemon.path}:'\n"
    assert silent(tyger("login", "-f", tmp_path / "l.yml", "--proxy", "host:1"))
    assert "proxy: 'http://host:1'\n" in place.read_text()


def test_a_login_file_from_standard_input(place, daemon):
    done = subprocess.run(
        [sys.executable, "-m", "tyger", "login", "-f", "-"],
        env=cli.environ(daemon.path, TYGER_SOCKET="", TYGER_CACHE_FILE=str(place)),
        input=f"serverUrl: unix://{daemon.path}\n".encode(),
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert daemon.path in place.read_text()


def test_a_url_goes_before_a_file(tyger, daemon, place):
    done = tyger("login", "-f", "/nowhere", f"unix://{daemon.path}")
    assert (done.code, done.err.partition(" WRN ")[2]) == (
        0,
        "--file is ignored: a server URL was given. file=/nowhere\n",
    )


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("", 65, "serverUrl must be specified"),
        (
            "serverUrl: a\nserverUri: b\n",
            65,
            "failed to parse login options file: conflicting fields: serverUrl",
        ),
        (
            "serverUrl: a\nserverUrl: a\n",
            65,
            "failed to parse login options file: {}: line 2: serverUrl: duplicate",
        ),
        ("[", 65, "failed to parse login options file: {}: line 2: "),
        ("serverUrl: {}\n", 65, "failed to parse login options file: {}: line 1: serverUrl: expected text"),
        (
            "serverUrl: https://h\nmanagedIdentity: true\n",
            69,
            "managedIdentity: this version of tyger cannot log in",
        ),
        (
            "serverUrl: h\nservicePrincipal: x\n",
            65,
            "when servicePrincipal is set, certificatePath must be specified on non-Windows platforms",
        ),
        (
            "serverUrl: h\ncertificatePath: x\n",
            65,
            "certificatePath can only be set when servicePrincipal is used",
        ),
        ("serverUrl: h\ngithub: true\n", 65, "targetFederatedIdentity must be specified when github is used"),
        (
            "serverUrl: h\ncertificateThumbprint: x\n",
            65,
            "certificateThumbprint is not supported on this platform",
        ),
        ("serverUrl: local\nproxy: a b\n", 65, "proxy must be"),
    ],
)
def test_login_files_that_are_refused(tyger, place, tmp_path, text, code, message):
    file = tmp_path / "l.yml"
    file.write_text(text)
    done = tyger("login", "-f", file)
    assert (done.code, done.err.count("\n")) == (code, 1)
    assert done.err.startswith("Error: " + message.replace("{}", str(file)))
    assert not place.exists()


def test_a_login_file_that_is_not_there(tyger, place):
    done = tyger("login", "-f", "/nowhere/l.yml")
    assert (done.code, done.err) == (
        66,
        "Error: failed to read login options file: /nowhere/l.yml: No such file or directory\n",
    )


def test_a_place_that_cannot_be_written(tyger, daemon, place, monkeypatch):
    monkeypatch.setenv("TYGER_CACHE_FILE", "/proc/nowhere/login")
    done = tyger("login", f"unix://{daemon.path}")
    assert (done.code, done.err.count("\n")) == (78, 1)
    assert done.err.startswith("Error: cannot write the login file /proc/nowhere/login: ")
