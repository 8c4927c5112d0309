"""What keeps the repository: releases, affected packages, built wheels."""
