-- Dissects the lines of a parallel cable, link type USER0, as `fauxfax run --capture` writes them.
--
--     tshark -X lua_script:tools/fauxfax-1284.lua -r FILE.pcapng -Y ieee1284
--
-- or copy it into Wireshark's folder of personal Lua plugins. Octets are described in fauxfax/capture/parallel.py.

local cable = Proto("ieee1284", "IEEE 1284 parallel cable")

local NO_EVENT = 255
local fields = {
  version = ProtoField.uint8("ieee1284.version", "Version"),
  event   = ProtoField.uint8("ieee1284.event", "Event of the standard"),
  control = ProtoField.uint8("ieee1284.control", "Host's lines", base.HEX),
  status  = ProtoField.uint8("ieee1284.status", "Machine's lines", base.HEX),
  data    = ProtoField.uint8("ieee1284.data", "Data lines", base.HEX),
  phase   = ProtoField.string("ieee1284.phase", "Phase"),
}
local control_lines = {
  ProtoField.bool("ieee1284.nstrobe", "nStrobe", 8, nil, 0x01),
  ProtoField.bool("ieee1284.nautofd", "nAutoFd", 8, nil, 0x02),
  ProtoField.bool("ieee1284.ninit", "nInit", 8, nil, 0x04),
  ProtoField.bool("ieee1284.nselectin", "nSelectIn", 8, nil, 0x08),
}
local status_lines = {
  ProtoField.bool("ieee1284.nfault", "nFault", 8, nil, 0x08),
  ProtoField.bool("ieee1284.select", "Select", 8, nil, 0x10),
  ProtoField.bool("ieee1284.perror", "PError", 8, nil, 0x20),
  ProtoField.bool("ieee1284.nack", "nAck", 8, nil, 0x40),
  ProtoField.bool("ieee1284.busy", "Busy", 8, nil, 0x80),
}

local all = {}
for _, group in ipairs({ fields, control_lines, status_lines }) do
  for _, field in pairs(group) do all[#all + 1] = field end
end
cable.fields = all

local function add_lines(tree, field, lines, octet)
  local branch = tree:add(field, octet)
  for _, line in ipairs(lines) do branch:add(line, octet) end
end

function cable.dissector(octets, packet, root)
  if octets:len() < 6 or octets(0, 1):uint() ~= 1 then return 0 end
  local event, phase = octets(1, 1):uint(), octets(5):string()
  local tree = root:add(cable, octets())
  tree:add(fields.version, octets(0, 1))
  if event ~= NO_EVENT then tree:add(fields.event, octets(1, 1)) end
  add_lines(tree, fields.control, control_lines, octets(2, 1))
  add_lines(tree, fields.status, status_lines, octets(3, 1))
  tree:add(fields.data, octets(4, 1))
  tree:add(fields.phase, octets(5))
  packet.cols.protocol = "IEEE1284"
  packet.cols.info = (event ~= NO_EVENT and "event " .. event .. ", " or "") .. phase
  return octets:len()
end

-- Wireshark calls the table and the constants by other names in later versions; the number of USER0 stays.
DissectorTable.get("wtap_encap"):add(wtap and wtap.USER0 or wtap_encaps.USER0, cable)

-- What happened in the machine while no packet was on its way is said with an empty packet of link type USER1.
local events = Proto("fauxfax_event", "What happened in the machine")
function events.dissector(octets, packet, _)
  packet.cols.protocol = "MACHINE"
  packet.cols.info = "see the packet's comment"
  return octets:len()
end
DissectorTable.get("wtap_encap"):add(wtap and wtap.USER1 or wtap_encaps.USER1, events)
