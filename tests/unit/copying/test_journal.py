import json

from tygerd.copying import journal


def test_lines_are_json_in_records(tmp_path):
    sizes = []
    log = journal.Journal(str(tmp_path / "log"), sizes.append)
    log.write("info", "Exported buffer", buffer="b", bytes=3)
    log.write("error", "It broke", error="two\nlines")
    log.close()
    first, second = (tmp_path / "log").read_text().splitlines()
    moment, stream, text = first.split(" ", 2)
    assert (len(moment), stream) == (30, "E")
    said = json.loads(text)
    assert list(said) == ["level", "buffer", "bytes", "time", "message"]
    assert json.loads(second.split(" ", 2)[2])["error"] == "two\nlines"
    assert sizes[-1] == log.size == (tmp_path / "log").stat().st_size


def test_it_goes_on_behind_what_is_there(tmp_path):
    for word in ("one", "two"):
        log = journal.Journal(str(tmp_path / "log"))
        log.write("info", word)
        log.close()
    lines = (tmp_path / "log").read_text().splitlines()
    assert [json.loads(line.split(" ", 2)[2])["message"] for line in lines] == ["one", "two"]
