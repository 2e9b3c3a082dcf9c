#!/usr/bin/env bash
# Install the Debian packages of the demonstration: voice prompts, two speech synthesisers, a C++ compiler for pyworld.
set -euo pipefail
packages=(asterisk-core-sounds-{en,fr,it,ru}-g722 espeak-ng flite g++ python3-dev python3-venv)
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  as_root=()
  [ "$(id -u)" = 0 ] || as_root=(sudo -n)
  # Another program that installs packages, such as the system's own updates, is waited for.
  if ! { command -v apt-get >/dev/null && "${as_root[@]}" apt-get update -qq &&
    DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get -o DPkg::Lock::Timeout=300 install -qq -y --no-install-recommends \
      "${missing[@]}" >/dev/null; }; then
    echo "error: apt-get could not install ${missing[*]}: install them by hand, or give your own recordings with --bonafide DIR" >&2
    exit 2
  fi
fi
cat <<'EOF'
Human speech: Asterisk core sounds, by Allison Smith (en; theivrvoice.com) and June Wallack (fr; junewallack.com), CC BY-SA 3.0;
by Carlo Flora (it; carloflora.com), CC BY-SA 3.0; by Maxim Topal (ru; ivrvoice.ru), CC BY 3.0.
EOF
