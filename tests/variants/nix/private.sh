# Runs a command with a Nix store and a user for Nix's builds that are gone with it; to be started in a mount namespace of
# its own, as root: `unshare --mount sh private.sh FOLDER COMMAND…`, with nix.conf in FOLDER.
set -e
folder=$1
shift
mount --make-rprivate /
mkdir -p /nix
mount -t tmpfs -o mode=0755,size=1536M tmpfs /nix
# The group of the builds is that of /dev/kvm, if that has one of its own.
group=$(stat -c %g /dev/kvm)
if [ "$group" = 0 ]; then
  group=30000
  chmod 0666 /dev/kvm
fi
cp /etc/passwd /etc/group "$folder"
echo "nixbld1:x:30001:$group:a build of Nix:/var/empty:/usr/sbin/nologin" >>"$folder/passwd"
echo "nixbld:x:$group:nixbld1" >>"$folder/group"
mount --bind "$folder/passwd" /etc/passwd
mount --bind "$folder/group" /etc/group
export NIX_CONF_DIR="$folder" HOME="$folder" NIX_REMOTE=local
exec "$@"
