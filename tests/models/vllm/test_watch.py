from valor_ray.models.vllm.watch import Watch


def test_watch_counts_from_the_last_token_or_answer() -> None:
    now = [0.0]
    watch = Watch(lambda: now[0])

    def at(seconds: float, **tokens: int) -> float:
        now[0] = seconds
        return watch.idle_s(tokens)

    assert at(100) == 0
    with watch.working():
        assert at(103, a=0) == 3
        assert at(104, a=1) == 0
        assert at(110, a=1, b=0) == 6
        assert at(120, b=0) == 16  # given up by its caller: that is no progress
        watch.answered()
        assert at(121, b=0) == 0
        assert at(125, b=0) == 4
    assert at(200) == 0
