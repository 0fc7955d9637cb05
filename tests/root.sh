# SPDX-License-Identifier: MIT
# For tests in a root of another suite (tools/vm/root): sourced by them, after they
# have set work= and maybe suite= (or by suite_with) and ROOT=. TAP, and the source as cloned.
n=0 bad=0
mkdir -p "$work" build/log
check() { # WHAT COMMAND...
	local what=$1 out
	shift
	n=$((n + 1))
	if out=$("$@" 2>&1); then
		echo "ok $n - $what"
	else
		echo "not ok $n - $what"
		bad=1
		tail -n 20 <<<"$out" | sed 's/^/# /'
	fi
}
here() { tools/vm/root "$suite" sh -ec "$@"; } # in the root, in the working tree
there() { here "cd /usr/local/src/rdu; $1"; } # in the root's own copy of it

# What a clone would have; objects of former runs stay, if nothing changed.
copy() {
	git ls-files -coz --exclude-standard | xargs -0 ls -d 2>/dev/null >"$work/files"
	grep -q . "$work/files" || return 1
	here 'to=/usr/local/src/rdu
		mkdir -p $to
		find $to -mindepth 1 -maxdepth 1 ! -name build -exec rm -rf {} +
		xargs -d "\n" -a '"$work"'/files cp -pP --parents -t $to
		echo "APT::Sandbox::User \"root\";" >/etc/apt/apt.conf.d/99rdu'
}

root_or_skip() {
	if ! tools/vm/root "$suite" >"$work/root.log" 2>&1; then
		echo "1..0 # SKIP no root of Debian's $suite: $(tail -n 1 "$work/root.log")"
		exit
	fi
}

# suite_with PACKAGE VERSION SUITE...: sets suite= to the first that has the package, in that version or a later
# one, and version= to which; says skip and ends, if there is none.
suite_with() {
	local package=$1 least=$2 said
	shift 2
	if ! said=$(APT_LISTS=$package tools/vm/apt update "$@" 2>&1); then
		echo "1..0 # SKIP Debian's lists cannot be fetched: $(tail -n 1 <<<"$said")"
		exit
	fi
	for suite; do
		version=$(APT_LISTS=$package tools/vm/apt cache madison "$package" |
			awk -v from="$suite/main" '$6 == from { print $3; exit }')
		dpkg --compare-versions "$version" ge-nl "$least" && return
	done
	echo "1..0 # SKIP no $package of $least or later in $*"
	exit
}
