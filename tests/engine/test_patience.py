"""A pair of servers is given up when it failed for long, and told of once per kind of trouble."""

from cachemig.engine.patience import Patience

ONE, TWO = ("nfs-9", "it is gone", "reset"), ("nfs-9", "it is gone", "silence")


def test_the_clock_runs_while_nothing_comes_through() -> None:
    """It is that of all lanes together."""
    patience = Patience(1e-9)
    assert patience.left_s > 0
    patience.take(ONE)
    assert patience.left_s <= 0
    patience.renew()
    assert patience.left_s > 0


def test_a_trouble_is_new_once_until_a_batch_comes_through() -> None:
    """Thirty-two lanes that break together are one line."""
    patience = Patience(30)
    assert [patience.take(each) for each in (ONE, ONE, TWO, ONE)] == [True, False, True, False]
    patience.renew()
    assert patience.take(ONE)


def test_pauses_grow_to_a_bound() -> None:
    """A server that is up again is found soon, and one that is not is left alone."""
    patience = Patience(30)
    pauses_s = []
    for _ in range(100):
        patience.take(ONE)
        pauses_s.append(patience.pause_s)
    assert pauses_s == sorted(pauses_s)
    assert 0 < pauses_s[0] < pauses_s[-1] == pauses_s[-2]
