#!/usr/bin/env bash
# Put what `just release-propose` wrote on a branch and open the pull request, or refresh the one that is open.
set -euo pipefail
cd "$(dirname "$0")/.."

if git diff --quiet; then
    echo "nothing waits to be released"
    exit 0
fi
branch=release/next
git switch --create "$branch"
git config user.name "release"
git config user.email "release@users.noreply.github.com"
git commit --all --message "Next releases"
gh auth setup-git
git push --force origin "$branch"
if [ -z "$(gh pr list --head "$branch" --state open --json number --jq '.[].number')" ]; then
    gh pr create --head "$branch" --title "Next releases" \
        --body "Versions and change logs as \`just release-propose\` wrote them. Merging this publishes them."
fi
