-- State of workflows. May be applied any number of times.

CREATE TABLE IF NOT EXISTS workflow_states (
    id         uuid PRIMARY KEY,
    name       text NOT NULL,
    phase      integer NOT NULL DEFAULT 0 CHECK (phase BETWEEN 0 AND 7),
    status     text NOT NULL DEFAULT 'running'
               CHECK (status IN ('running', 'paused', 'completed', 'failed')),
    payload    jsonb NOT NULL DEFAULT '{}',
    version    text NOT NULL,
    owner      text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

COMMENT ON COLUMN workflow_states.phase IS 'the phase being worked on; 7 with status completed when all are done';
COMMENT ON COLUMN workflow_states.owner IS 'the pod working on it; NULL when it waits to be taken over';

CREATE INDEX IF NOT EXISTS workflow_states_running ON workflow_states (updated_at) WHERE status = 'running';
CREATE INDEX IF NOT EXISTS workflow_states_created ON workflow_states (created_at DESC);

CREATE TABLE IF NOT EXISTS workflow_phase_log (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workflow_id uuid NOT NULL REFERENCES workflow_states (id) ON DELETE CASCADE,
    phase       integer NOT NULL CHECK (phase BETWEEN 0 AND 7),
    result      text NOT NULL CHECK (result IN ('success', 'failure')),
    detail      jsonb NOT NULL DEFAULT '{}',
    version     text NOT NULL,
    pod         text NOT NULL,
    started_at  timestamptz NOT NULL,
    ended_at    timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX IF NOT EXISTS workflow_phase_log_workflow ON workflow_phase_log (workflow_id, phase);
