from pathlib import Path

import pytest
import yaml

from rcs_assets.disclosure.policy import audience_names, load_policy
from rcs_assets.errors import ConfigurationError


def overlay(folder: Path, content: dict) -> Path:
    (folder / "policy.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return folder


def test_table_a_as_published():
    policy = load_policy()
    public = policy.rule_for("public", is_sensitive=False)
    assert (public.base, public.numerator, public.complement) == (30, 10, 10)
    assert (public.pct_step, public.mean_step, public.interval_step, public.n_step) == (
        1, 0.1, 1, 10,
    )  # fmt: skip
    cpp = policy.rule_for("cpp_tables", is_sensitive=False)
    assert (cpp.base, cpp.numerator, cpp.complement, cpp.n_step) == (10, 5, 5, 5)


def test_the_strictest_entry_of_each_column_holds():
    policy = load_policy()
    assert policy.rule_for("public", is_sensitive=True).base == 40
    cpp = policy.rule_for("cpp_tables", is_sensitive=True)
    assert (cpp.base, cpp.numerator, cpp.n_step) == (20, 10, 10)


def test_rows_of_schools_and_clusters():
    policy = load_policy()
    cluster = policy.rule_for("cluster", is_sensitive=False)
    assert (cluster.base, cluster.numerator, cluster.complement, cluster.n_step) == (30, 5, 5, 5)
    large = policy.rule_for("school_large", is_sensitive=False)
    assert (large.base, large.numerator, large.pct_step, large.mean_step) == (20, 5, 1, 0.5)
    assert policy.rule_for("school_large", is_sensitive=False, breakdown="stage:sex").base == 10
    medium = policy.rule_for("school_medium", is_sensitive=False)
    assert (medium.base, medium.pct_step, medium.interval_step, medium.n_step) == (20, 5, 5, 5)


def test_a_sensitive_indicator_at_school_is_shown_to_five_per_cent_and_ten_pupils():
    rule = load_policy().rule_for("school_large", is_sensitive=True)
    assert (rule.base, rule.numerator, rule.complement) == (30, 10, 10)
    assert (rule.pct_step, rule.interval_step, rule.n_step) == (5, 5, 10)
    assert load_policy().rule_for("cluster", is_sensitive=True).pct_step == 1


def test_pairs_and_special_groups_have_entries_of_their_own():
    policy = load_policy()
    assert policy.rule_for("public", is_sensitive=False, breakdown="stage:sex").base == 50
    assert policy.rule_for("cpp_tables", is_sensitive=False, breakdown="stage:sex").base == 10
    special = policy.rule_for("cpp_tables", is_sensitive=True, breakdown="looked_after")
    assert (special.base, special.numerator, special.n_step) == (40, 10, 10)


def test_sizes_of_schools_and_rules_of_clusters():
    policy = load_policy()
    assert [(size.respondents, size.breakdowns) for size in policy.school_sizes] == [
        (100, ("total", "sex", "stage", "stage:sex")),
        (50, ("total", "sex")),
        (20, ("total",)),
    ]
    assert policy.smallest_school.respondents == 20
    rule = policy.clusters
    assert (rule.surveys, rule.least_schools, rule.largest_school_pct) == (("primary",), 3, 60)
    assert (rule.small_schools_least, rule.small_pupils_least) == (3, 30)
    assert policy.is_school("school_medium") and not policy.is_school("cluster")


def test_each_audience_holds_its_levels():
    policy = load_policy()
    assert policy.audience("public").geography_levels == ("cpp", "tranche", "all")
    assert policy.audience("cpp/t1-moray").geography_levels == ("cpp", "cluster", "school")
    assert "looked_after" in policy.breakdowns["cpp"]
    assert "looked_after" not in policy.breakdowns["tranche"]


def test_production_needs_two_signatures_and_demo_only_simulated_deliveries():
    approvals = load_policy().approvals
    assert approvals["production"].signatures == 2
    assert approvals["demo"].only_simulated and not approvals["production"].only_simulated


def test_an_overlay_makes_it_stricter_and_changes_the_version(tmp_path):
    folder = overlay(tmp_path, {"output_classes": [{"name": "public", "base": 50}]})
    policy = load_policy(folder)
    assert policy.rule_for("public", is_sensitive=False).base == 50
    assert policy.rule_for("public", is_sensitive=False).numerator == 10
    assert policy.version != load_policy().version


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"output_classes": [{"name": "public", "numerator": 3}]}, "laxer"),
        ({"output_classes": [{"name": "cpp_tables", "n_step": 0}]}, "rounding step"),
        ({"output_classes": [{"name": "public", "base": 12}]}, "low and high at once"),
        ({"output_classes": [{"name": "public", "base": -1}]}, "negative"),
        ({"output_classes": [{"name": "public", "colour": 1}]}, "unknown column"),
        ({"output_classes": [{"name": "new"}]}, "not complete"),
        ({"empty_reasons": {"no_data": "x"}}, "no_data"),
        ({"statuses": {"w": "nobody gave this answer"}}, "statuses"),
        ({"approvals": {"production": {"signatures": 0, "author_may_approve": False,
                                       "only_simulated": False}}}, "two signatures"),
        ({"audiences": {"cpp": {"output_classes": {"cpp": "nothing"}}}}, "no output class"),
        ({"audiences": {"cpp": {"output_class": "public"}}}, "not complete"),
        ({"school_sizes": [{"respondents": 20, "output_class": "nothing", "breakdowns": []}]},
         "a school size has no output class"),
        ({"school_sizes": [
            {"respondents": 20, "output_class": "school_medium", "breakdowns": ["total"]},
            {"respondents": 50, "output_class": "school_large", "breakdowns": ["total"]},
        ]}, "largest first"),
        ({"special": {"ethnicity": "nothing"}}, "special breakdown"),
        ({"breakdowns": {"cluster": ["sex"]}}, "breakdown total"),
        ({"clusters": {"least_pupils": 3}}, "not complete"),
        ({"thresholds": {}}, "no block"),
        ({"linked_indicators": [{"name": "a", "kind": "sum", "indicators": ["x"]}]}, "linked"),
    ],
)  # fmt: skip
def test_contradictions_are_refused(tmp_path, content, words):
    with pytest.raises(ConfigurationError, match=words):
        load_policy(overlay(tmp_path, content))


def test_unreadable_policy_is_refused(tmp_path):
    (tmp_path / "policy.yaml").write_text("output_classes: [", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="YAML"):
        load_policy(tmp_path)


def test_unknown_audience_is_refused():
    with pytest.raises(ConfigurationError, match="no audience"):
        load_policy().audience("press")


def test_audiences_of_a_release():
    assert audience_names(["t1-moray"]) == ("public", "cpp/t1-moray")
