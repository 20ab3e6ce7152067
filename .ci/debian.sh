# For the scripts beside it: Debian's packages of another architecture, unpacked into a folder that Python runs in.
# unpack ROOT ARCHITECTURE PACKAGE ...: with what they depend on, once. SUITE and MIRROR say from where.
unpack() {
    local root=$1 arch=$2 apt=$1.apt package
    [ ! -e "$root/done" ] || return 0
    mkdir -p "$apt"/lists/partial "$apt"/cache/archives/partial "$root"; touch "$apt/status"
    echo "deb [arch=$arch signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $MIRROR $SUITE main" > "$apt/sources.list"
    local fetch=(apt-get -qq -o APT::Architecture="$arch" -o APT::Architectures="$arch" -o Dir::State::Lists="$apt/lists"
                 -o Dir::State::status="$apt/status" -o Dir::Etc::SourceList="$apt/sources.list"
                 -o Dir::Etc::SourceParts=/dev/null -o Dir::Cache="$apt/cache" -o Acquire::Languages=none -o Acquire::Retries=3)
    "${fetch[@]}" update
    "${fetch[@]}" -y --download-only --no-install-recommends install "${@:3}"
    for package in "$apt"/cache/archives/*.deb; do dpkg -x "$package" "$root"; done
    touch "$root/done"
}
