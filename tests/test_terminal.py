"""What is shown on a terminal."""

from foundation.terminal import printable


def test_what_a_terminal_obeys_is_marked() -> None:
    assert printable("Grüße, 温度 µ²\N{NO-BREAK SPACE}x") == "Grüße, 温度 µ²\ufffdx"
    assert printable("\x1b[31mred\x07\r\n\u202e\ud800") == "\ufffd[31mred\ufffd\ufffd\ufffd\ufffd\ufffd"
    assert printable("one\ntwo\r", lines=True) == "one\ntwo\ufffd"
