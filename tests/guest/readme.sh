# Runs in the guest: README's steps for a Pi. /dev/vda has the package's files, a configuration, and the commands to follow.
. /bin/common.sh
plug 0
# The package's program, not the one that other jobs use.
rm /bin/hueflow-edge
tar -x -f /dev/vda -C /
export PATH=/usr/bin:$PATH
echo "GUEST README's program is $(command -v hueflow-edge)"
while read -r line; do
  sh -c "$line" </dev/null
  echo "GUEST README: $line: ended with $?"
done </readme.commands
# There is no systemd here: the unit's own command lines, with the state directory that systemd would make.
unit=$(ls /lib/systemd/system/hueflow-edge.service /usr/lib/systemd/system/hueflow-edge.service 2>/dev/null | head -n 1)
setting_of() { sed -n "s/^$1=//p" "$unit"; }
mkdir -p "/var/lib/$(setting_of StateDirectory)"
export STATE_DIRECTORY="/var/lib/$(setting_of StateDirectory)"
$(setting_of ExecStartPre)
echo "GUEST ExecStartPre ended with $?"
$(setting_of ExecStart) >/tmp/service.log 2>&1 &
service=$!
echo "GUEST service started"
wait_for_host
kill $service
wait $service
echo "GUEST service ended with $?"
cat /tmp/service.log
