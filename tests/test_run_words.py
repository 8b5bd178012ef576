"""What a run says in its last lines: datasets, networks and times, not jobs of rules."""

from hermes.jobs.run_words import Job, chain, did, duration, failed, stopped, would


def train(run, **facts):
    return Job("train", {"run": run}, **facts)


def predict(run, dataset, **facts):
    return Job("predict", {"run": run, "dataset": dataset}, **facts)


def test_things_are_counted_and_not_jobs():
    jobs = [Job(rule, {"dataset": d}) for rule in ("phantom", "convert", "split") for d in "ab"]
    jobs += [train("net"), predict("net", "a"), predict("net", "b")]
    jobs += [
        Job("predict_shard", {"run": "net", "dataset": "b", "shard": n, "shards": "2"})
        for n in "12"
    ]
    jobs += [Job("table", {"table": "table2"}), Job("statistics"), Job("licences")]
    first, *_ = would(jobs, ["results/table2.csv"], 2).splitlines()
    assert first == (
        "Would prepare 2 datasets, train 1 network, make 2 predictions, render 2 tables and write "
        "1 other file."
    )


def test_reasons_are_counted_and_changed_code_is_named():
    jobs = [
        train("a", reason="code", changed=["hermes/axes.py"]),
        train("b", reason="code", changed=["hermes/axes.py"]),
        predict("a", "x", reason="follows"),
        train("c", reason="settings"),
    ]
    assert would(jobs, [], 2).splitlines()[1] == (
        "Why, of 4 jobs: settings changed (1); code changed, hermes/axes.py (2); made from the "
        "results of others (1)."
    )


def test_nothing_to_do_names_what_was_asked_for():
    assert (
        would([], ["results/table2.csv"], 2) == "Nothing to do: results/table2.csv is up to date."
    )
    assert would([], ["a", "b"], 2) == "Nothing to do: a, b are up to date."


def test_an_estimate_fills_the_cores_and_is_no_shorter_than_the_longest_chain():
    wide = [train(str(n), seconds=300.0) for n in range(8)]
    assert would(wide, [], 2).endswith("About 20 min on 2 cores by former runs.")
    whole = [train(str(n), seconds=300.0, threads=8) for n in range(4)]
    assert would(whole, [], 2).endswith("About 20 min on 2 cores by former runs.")
    long = [train("a", seconds=600.0), predict("a", "x", seconds=600.0, needs=[0])]
    assert would(long, [], 8).endswith("About 20 min on 8 cores by former runs.")
    assert would(long, [], None).endswith(
        "20 min of computing by former runs, 20 min of it one after the other."
    )


def test_an_estimate_says_what_it_does_not_know():
    jobs = [train("a", seconds=100.0), train("b", seconds=200.0), train("c"), predict("a", "x")]
    assert would(jobs, [], 1).endswith(
        "About 8 min on 1 core by former runs; of 1 job nothing is known."
    )
    assert len(would([train("a")], [], 1).splitlines()) == 2


def test_the_longest_chain_is_found_across_branches():
    jobs = [train("a"), train("b"), predict("a", "x", needs=[0]), Job("table", needs=[1, 2])]
    assert chain(jobs, [5.0, 7.0, 1.0, 2.0]) == 9.0


def test_a_run_that_succeeded_says_what_took_how_long_and_where_to_look():
    jobs = [train("a", seconds=40.0), train("b", seconds=20.0), predict("a", "x", seconds=1.0)]
    lines = did(jobs, 45.0, {"Tables": ["results/s/t.md"], "Figures": []}).splitlines()
    assert lines[0] == "Done in 45 s: 3 jobs, 61 s of computing."
    assert lines[1].split() == ["trained", "2", "networks", "2", "jobs", "60", "s"]
    assert lines[3:] == [
        "Slowest: train a 40 s, train b 20 s, predict a x 1 s.",
        "Tables: results/s/t.md",
    ]


def test_the_last_line_of_a_failure_is_rule_cause_and_log():
    bad = [(train("a"), "no room", "logs/a.log"), (predict("b", "x"), "killed", "logs/b.log")]
    lines = failed(bad, done=5, total=9).splitlines()
    assert lines == [
        "2 of 9 jobs failed, 5 done and kept, 2 not run.",
        "FAILED train a: no room (log: logs/a.log)",
        "FAILED predict b x: killed (log: logs/b.log)",
    ]


def test_a_run_that_was_stopped_says_that_nothing_is_lost():
    assert stopped(3, 9).startswith("Stopped after 3 of 9 jobs. What is done is kept")


def test_times_are_said_as_one_says_them():
    said = [duration(time) for time in (8.0, 89.0, 125.0, 840.0, 5400.0, 12e3, 36e4)]
    assert said == ["8 s", "89 s", "2 min", "14 min", "1 h 30 min", "3 h 20 min", "100 h"]
