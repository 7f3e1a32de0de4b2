"""What each command is for, in groups, with examples; the help is made of it."""

from __future__ import annotations

from dataclasses import dataclass

NAME = "my.gollum"  # of the campaign in examples


@dataclass(frozen=True)
class Guide:
    """A command.

    Attributes:
        group: below which it is listed.
        about: what it does, a phrase.
        examples: what to type after `gollum` and its name, each with what it does.
    """

    group: str
    about: str
    examples: tuple[tuple[str, str], ...]


BEGIN = "begin"
DO = "do experiments"
LEARN = "learn from elsewhere"
LOOK = "look"
RESEARCH = "research"
SERVICE = "service"

GUIDES = {
    "demo": Guide(
        BEGIN, "a first optimization, on a reaction that comes along",
        (("", "fifty experiments, in a minute or two"),
         ("--n_iters 5", "five"),
         ("--surrogate one_hot --output runs/one-hot", "with another model, in another folder")),
    ),
    "init": Guide(
        BEGIN, "begin a campaign from a table or lists of options, or change one",
        ((f"{NAME} --table conditions.xlsx --objective yield", "rows are possible experiments"),
         (f"{NAME} --factors lists.yaml --objective yield", "all combinations of options"),
         (f"{NAME} --objective ee:at-least=90", "of one that runs: want something else")),
    ),
    "suggest": Guide(
        DO, "the next experiments",
        ((f"{NAME} -n 8 -o next.xlsx", "eight, as a sheet to fill in"),
         (f"{NAME} -n 24 --at-most ligand=3 --same temperature", "within what a plate allows"),
         (f"{NAME} --fresh", "withdraw what is pending, and choose anew")),
    ),
    "record": Guide(
        DO, "take in results",
        ((f"{NAME} next.xlsx", "a sheet that is filled in, all or part"),
         (f"{NAME} notebook.csv --as-done", "inputs as they were in fact"),
         (f"{NAME} mended.xlsx --correct", "other values for known experiments")),
    ),
    "add": Guide(
        DO, "candidates, options and factors for a campaign that runs",
        ((f"{NAME} --option ligand=NewPhos", "with everything else"),
         (f"{NAME} --range temperature=60:100:10", "further numbers"),
         (f"{NAME} more.xlsx", "further experiments, one per row")),
    ),
    "avoid": Guide(
        DO, "lock candidates, such as what is out of stock",
        ((f"{NAME} ligand=XPhos --reason \"out of stock\"", "none of these"),
         (f"{NAME} \"temperature>100\"", "a span of numbers"),
         (f"{NAME} ligand=XPhos --lift", "free them again")),
    ),
    "rename": Guide(
        DO, "give options of a column other names",
        ((f"{NAME} ligand \"Ligand A=XPhos\"", "sheets with the former name are still read"),),
    ),
    "learn": Guide(
        LEARN, "learn from an earlier campaign, a table or an opinion",
        ((f"{NAME} last-year.gollum paper.csv:yield", "what others measured"),
         (f"{NAME} public:bh-ethyl --match ligand=ligand", "a public table"),
         (f"{NAME} --rank \"ligand=XPhos > SPhos > dppf\"", "what you expect")),
    ),
    "status": Guide(
        LOOK, "where a campaign stands", ((NAME, "counts, the best so far, and what to do next"),)
    ),
    "report": Guide(
        LOOK, "all that is known, as one HTML page",
        ((f"{NAME} -o for-the-meeting.html", "pictures, effects, and whether to trust them"),),
    ),
    "analyze": Guide(
        LOOK, "what a model has learned, and whether to trust it",
        ((NAME, "a page with maps, effects and calibration"),
         ("runs/demo --models combined,one_hot", "two models of a run"),
         ("benchmarks/results/default.csv", "what goes with success over many runs")),
    ),
    "export": Guide(
        LOOK, "results, history or everything, as a file",
        ((f"{NAME} -o results.xlsx", "results"),
         (f"{NAME} -o all.csv --what predictions", "what the model expects of every candidate"),
         (f"{NAME} -o campaign.json", "everything")),
    ),
    "serve": Guide(
        LOOK, "the lab's page, and an interface for robots",
        ((".", "all campaigns of this folder, to browsers on this machine"),
         (f"{NAME} --port 9000", "one campaign"),
         (". --host 0.0.0.0 --password-file secret --tls-cert c.pem --tls-key k.pem",
          "to the laboratory's network")),
    ),
    "run": Guide(
        RESEARCH, "replay a table of results",
        (("--data.path reactions.csv --data.objective yield", "your own"),
         ("--config configs/pllm_phi.yaml --model.name minilm", "the paper's method"),
         ("--data.task bh-cf3 --surrogate one_hot --seed 1", "a benchmark task")),
    ),
    "bench": Guide(
        RESEARCH, "run a sweep of benchmark cells",
        (("benchmarks/specs/smoke.yaml", "a minute, to see how it works"),
         ("benchmarks/specs/smoke.yaml --dry-run", "what is done, and what is missing"),
         ("benchmarks/specs/smoke.yaml --seeds 5 --jobs 4", "more seeds, four at a time")),
    ),
    "compare": Guide(
        RESEARCH, "compare methods from benchmark records",
        (("runs/smoke", "means, paired gains and ranks"),
         ("runs/smoke --html compare.html", "as a page"),
         ("runs/smoke --reference one_hot --join plain=one_hot,morgan", "with whom to pair")),
    ),
    "tasks": Guide(
        RESEARCH, "list the benchmark tasks, or fetch one",
        (("", "all of them, and which are here"), ("bh-ethyl", "one in full"),
         ("--download photoswitch", "fetch one that is not here")),
    ),
    "models": Guide(
        RESEARCH, "list the language models, or fetch one",
        (("", "all of them, and which are here"), ("minilm", "one in full"),
         ("get rxnfp", "fetch one")),
    ),
    "doctor": Guide(
        SERVICE, "what is here, what is slow and why, what to do",
        (("", "versions, processor, models, data, caches"), ("--clean", "remove cached features")),
    ),
    "replay": Guide(
        SERVICE, "compute past suggestions again and compare",
        ((NAME, "all batches"), (f"{NAME} --batch 3", "one of them")),
    ),
    "recover": Guide(
        SERVICE, "save what can be read of a damaged file",
        ((f"{NAME} --to rescued.gollum", "the events that are whole, as a new campaign"),),
    ),
}  # fmt: skip


def overview() -> str:
    """All commands below their groups."""
    lines = []
    for group in dict.fromkeys(guide.group for guide in GUIDES.values()):
        lines.append(f"\n{group}:")
        lines += [
            f"  {name:<9} {guide.about}" for name, guide in GUIDES.items() if guide.group == group
        ]
    lines += [
        "\nA campaign is one file; a first one, from a spreadsheet:",
        *(
            f"  gollum {name} {GUIDES[name].examples[0][0]}"
            for name in ("init", "suggest", "record")
        ),
        "\n`gollum COMMAND --help` has the options of a command, and examples.",
    ]
    return "\n".join(lines).lstrip("\n")


def examples(name: str) -> str:
    """Examples of a command, each below what it does."""
    lines = [
        f"  gollum {f'{name} {typed}'.strip()}\n      {about}"
        for typed, about in GUIDES[name].examples
    ]
    return "\n".join(["examples:", *lines])
