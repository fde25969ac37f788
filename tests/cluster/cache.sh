# SPDX-License-Identifier: GPL-2.0-or-later
# Sourced: sets $cache, the folder for what is built once and outlives the work tree.
if [ -n "${REMORA_CACHE:-}" ]; then
    cache=$(readlink -m "$REMORA_CACHE")
elif [ "$(id -u)" = 0 ]; then
    cache=/var/cache/remora
else
    cache=${XDG_CACHE_HOME:-$HOME/.cache}/remora
fi
