package clientip

import (
	"encoding/binary"
	"fmt"
	"testing"
)

func TestTheDefaultGatewayIsReadFromTheKernelsTable(t *testing.T) {
	native := binary.NativeEndian.Uint32([]byte{172, 17, 0, 1})
	table := "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n" +
		"eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n" +
		fmt.Sprintf("eth0\t00000000\t%08X\t0003\t0\t0\t0\t00000000\t0\t0\t0\n", native)
	if got := defaultGateway(table).String(); got != "172.17.0.1" {
		t.Errorf("got %s", got)
	}
	for _, none := range []string{"", "Iface Destination\n", "eth0 00000000 zz 0 0 0 0 00000000\n", "eth0\t00000000\t00000000\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"} {
		if got := defaultGateway(none); got.IsValid() {
			t.Errorf("%q: %v", none, got)
		}
	}
}
