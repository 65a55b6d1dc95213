"""The agents of claude-enhancer 5.0: what each is for. 56 standard agents in five categories, 5 system agents."""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """One agent: ``focus`` are the subjects it answers for."""

    name: str
    description: str
    focus: tuple[str, ...]


TOOLS: dict[str, tuple[str, ...]] = {
    "development": ("Read", "Write", "Edit", "Bash", "Grep"),
    "business": ("Read", "Write", "WebSearch"),
    "industry": ("Read", "Write", "Grep", "WebSearch"),
    "quality": ("Read", "Grep", "Glob", "Bash"),
    "specialized": ("Read", "Write", "Edit", "Bash"),
    "system": ("Read", "Write", "Bash", "Task"),
}

COLORS = {"development": "blue", "quality": "green", "system": "red"}

_TABLE = """
# development
backend-architect | Designs services, their interfaces and their data | service boundaries; API contracts; data models
frontend-specialist | Builds accessible user interfaces | components; state; accessibility
fullstack-engineer | Carries a feature from database to browser | vertical slices; end-to-end types; local tooling
api-designer | Writes interface descriptions others can build on | resources; versioning; error formats
database-specialist | Models data and keeps queries fast | schemas; indexes; migrations
python-pro | Writes idiomatic Python | typing; packaging; asynchronous code
typescript-pro | Writes strictly typed TypeScript | type design; bundling; runtime checks
golang-pro | Writes small concurrent Go services | goroutines; interfaces; profiling
rust-pro | Writes safe systems code in Rust | ownership; error types; unsafe reviews
java-enterprise | Maintains large Java systems | dependency injection; transactions; upgrades
react-pro | Builds React applications | hooks; rendering cost; server components
vue-specialist | Builds Vue applications | composition; routing; stores
nextjs-pro | Builds Next.js sites | routing; caching; incremental rendering
mobile-developer | Builds applications for phones | offline use; releases; battery
graphql-specialist | Designs GraphQL schemas | schema design; batching; query limits
build-engineer | Keeps builds fast and repeatable | caching; pinning; artefacts
# business
business-analyst | Turns wishes into requirements | interviews; processes; acceptance
product-strategist | Decides what to build next | goals; priorities; measures
project-manager | Keeps plans honest | milestones; risks; dependencies
requirements-analyst | Finds gaps in requirements | completeness; conflicts; traceability
technical-writer | Writes what people read first | guides; references; release notes
ux-researcher | Finds out what users do | interviews; usability tests; journeys
data-analyst | Answers questions with data | queries; dashboards; experiments
compliance-officer | Checks work against rules | licences; retention; evidence
# industry
fintech-specialist | Knows payment systems | ledgers; settlement; audit trails
healthcare-developer | Knows health data | records; consent; interoperability
ecommerce-expert | Knows online shops | catalogues; checkout; stock
education-specialist | Knows learning platforms | courses; progress; grading
gaming-developer | Knows game back ends | matchmaking; latency; economies
logistics-expert | Knows supply chains | routing; tracking; customs
energy-specialist | Knows energy systems | metering; forecasts; grids
media-engineer | Knows media delivery | transcoding; streaming; rights
telecom-engineer | Knows telephone networks | signalling; billing; roaming
embedded-engineer | Knows small devices | firmware; real time; power
# quality
code-reviewer | Reads changes before they are merged | correctness; clarity; tests
test-engineer | Designs tests that fail for the right reason | unit tests; fixtures; coverage
e2e-test-specialist | Tests whole user journeys | browsers; stable selectors; test data
performance-engineer | Finds where time goes | profiles; budgets; load tests
performance-tester | Measures under load | scenarios; percentiles; saturation
security-auditor | Looks for weaknesses | input handling; secrets; dependencies
accessibility-auditor | Tests with assistive technology | contrast; keyboard; screen readers
error-detective | Finds causes of failures | logs; traces; bisecting
quality-lead | Decides when work is done | criteria; reports; trends
chaos-engineer | Breaks things on purpose | hypotheses; blast radius; recovery
# specialized
devops-engineer | Automates delivery | pipelines; environments; releases
kubernetes-expert | Runs workloads on Kubernetes | manifests; scheduling; upgrades
cloud-architect | Lays out cloud accounts | networks; identity; cost
monitoring-specialist | Makes systems observable | metrics; alerts; dashboards
incident-responder | Leads through an incident | triage; communication; reviews
deployment-manager | Plans and runs releases | windows; gates; rollback
data-engineer | Moves data reliably | pipelines; quality; lineage
search-engineer | Makes things findable | indexing; ranking; synonyms
workflow-optimizer | Shortens workflows | bottlenecks; parallel work; hand-overs
documentation-curator | Keeps documents current | structure; links; ownership
migration-specialist | Moves systems without loss | plans; double writes; verification
localization-engineer | Prepares software for languages | messages; plurals; formats
# system
orchestrator | Assigns work to the other agents | planning; assignment; progress
phase-controller | Moves workflows through their phases | entry conditions; exit conditions; hand-over
state-keeper | Keeps and restores workflow state | checkpoints; recovery; consistency
conflict-resolver | Settles contradicting results | comparison; arbitration; records
resource-steward | Shares limited capacity | quotas; queues; fairness
"""


def _read(table: str) -> dict[str, tuple[Entry, ...]]:
    categories: dict[str, list[Entry]] = {}
    for line in table.strip().splitlines():
        if line.startswith("# "):
            entries = categories.setdefault(line[2:], [])
        else:
            name, description, focus = (cell.strip() for cell in line.split("|"))
            entries.append(Entry(name, description, tuple(word.strip() for word in focus.split(";"))))
    return {category: tuple(entries) for category, entries in categories.items()}


CATALOGUE = _read(_TABLE)
