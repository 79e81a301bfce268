# Puts GitHub's runner program into an instance, and installs what it needs and the image lacks.
# $1: its archive; $2: its directory; $3: where the instance's file system begins: nothing, but for tests.
archive=$1 directory=$2 root=${3:-}

say() {
  echo "dayfly: $1"
}

fail() {
  say "$1"
  exit 1
}

command -v tar >/dev/null || fail 'the image has no tar'
mkdir -p "$directory" || fail "$directory can't be made"
tar -xzf "$archive" -C "$directory" || fail 'the archive of the runner program could not be unpacked: is there room, and gzip?'
rm -f "$archive"
[ -x "$directory/run.sh" ] || fail 'the archive of the runner program has no run.sh'

# Read, not run: it is the image's.
id='' like='' name='an unknown system'
for file in "$root/etc/os-release" "$root/usr/lib/os-release"; do
  [ -r "$file" ] || continue
  while IFS='=' read -r key value || [ -n "$key" ]; do
    value=${value#[\"\']}
    value=${value%[\"\']}
    case $key in
    ID) id=$value ;;
    ID_LIKE) like=$value ;;
    PRETTY_NAME) name=$value ;;
    esac
  done <"$file"
  break
done

tool=''
for word in $id $like; do
  case $word in
  debian | ubuntu) tools=apt-get ;;
  alpine) tools=apk ;;
  fedora | rhel | centos | rocky | almalinux | amzn) tools='dnf microdnf yum' ;;
  *) continue ;;
  esac
  for tool in $tools; do
    command -v "$tool" >/dev/null && break
    tool=''
  done
  break
done

has() {
  for place in "$root"/lib "$root"/lib64 "$root"/usr/lib "$root"/usr/lib64 "$root"/usr/local/lib \
    "$root"/lib/*-linux-gnu* "$root"/usr/lib/*-linux-gnu*; do
    for file in "$place/$1".so "$place/$1".so.*; do
      [ ! -e "$file" ] || return 0
    done
  done
  return 1
}

has_certificates() {
  for file in etc/ssl/certs/ca-certificates.crt etc/pki/tls/certs/ca-bundle.crt etc/ssl/cert.pem etc/ssl/ca-bundle.pem; do
    [ ! -s "$root/$file" ] || return 0
  done
  return 1
}

# What the program and the .NET that it brings need of a system.
find_lacking() {
  lacking=''
  for library in libicuuc libssl libkrb5 libz libstdc++; do
    has "$library" || lacking="$lacking $library"
  done
  has_certificates || lacking="$lacking certificates"
}

# The package of a library, as each system names it.
package() {
  case $tool:$1 in
  # Its name has its version, which is another one in each release.
  apt-get:libicuuc) apt-cache search --names-only '^libicu[0-9]+$' | sed 's/ .*//' | sort | tail -n 1 ;;
  apt-get:libssl) echo libssl3 ;;
  apt-get:libkrb5) echo libkrb5-3 ;;
  apt-get:libz) echo zlib1g ;;
  apt-get:libstdc++) echo libstdc++6 ;;
  apk:libicuuc) echo icu-libs ;;
  apk:libssl) echo libssl3 ;;
  apk:libz) echo zlib ;;
  *:libicuuc) echo libicu ;;
  *:libssl) echo openssl-libs ;;
  *:libkrb5) echo krb5-libs ;;
  *:libz) echo zlib ;;
  *:certificates) echo ca-certificates ;;
  *) echo "$1" ;;
  esac
}

install() {
  case $tool in
  apt-get)
    apt-get -q -o Acquire::http::Timeout=20 update || return 1
    ;;
  apk) apk update || return 1 ;;
  esac
  packages=''
  for library in $lacking; do
    packages="$packages $(package "$library")"
  done
  # GitHub builds the program for glibc, which Alpine does not have.
  [ "$tool" != apk ] || packages="$packages gcompat libgcc libintl"
  say "the image lacks$lacking: $tool installs$packages"
  case $tool in
  apt-get)
    DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Acquire::http::Timeout=20 -o DPkg::Lock::Timeout=60 \
      install --no-install-recommends $packages
    ;;
  apk) apk add $packages ;;
  *) "$tool" install -y $packages ;;
  esac
}

find_lacking
if [ -n "$lacking" ] && [ -n "$tool" ]; then
  tries=1
  until install; do
    [ "$tries" -lt 3 ] || break
    tries=$((tries + 1))
    sleep "${DAYFLY_PAUSE:-5}"
  done
  find_lacking
  [ -z "$lacking" ] || fail "the image ($name) lacks$lacking, and $tool could not install it: put it into the image, or give the instance a way to its packages"
elif [ -n "$lacking" ]; then
  say "the image ($name) seems to lack$lacking, and has no package tool that dayfly knows"
fi

version=$("$directory/bin/Runner.Listener" --version 2>&1) || {
  [ -z "$lacking" ] || fail "the runner program does not start: $version; the image ($name) lacks$lacking, and has no package tool that dayfly knows"
  fail "the runner program does not start on $name: $version"
}
say "the runner program is $version"
