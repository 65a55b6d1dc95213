#!/usr/bin/env bash
# The plan's own way back, as a team writes it: kubectl, one step after the other, a fixed sleep, one look at the end.
# The environment says how the traffic is moved (MOVE_TRAFFIC), where users enter (EDGE_URL, EDGE_HOST), and what stood.
set -euo pipefail

namespace=claude-enhancer

echo "Moving all traffic back to stable"
eval "$MOVE_TRAFFIC"

echo "Switching the entry service back"
kubectl --namespace "$namespace" patch service claude-enhancer-service --type=merge \
  --patch '{"spec":{"selector":{"app":"claude-enhancer","version":"5.0"}}}'

echo "Removing the candidate"
kubectl --namespace "$namespace" delete deployment claude-enhancer-canary --ignore-not-found
if kubectl --namespace "$namespace" get deployment claude-enhancer-green >/dev/null 2>&1; then
  kubectl --namespace "$namespace" scale deployment claude-enhancer-green --replicas=0
fi

echo "Waiting for things to settle"
# The plan sleeps 10 to 30 seconds here; the shortest of these is taken.
sleep 10

echo "Verifying"
curl --fail --silent --show-error --header "Host: $EDGE_HOST" "$EDGE_URL/health" >/dev/null
kubectl --namespace "$namespace" get pods
