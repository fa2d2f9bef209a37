// Block RAM of ECP5 and Gowin: 512 rows of 36 bits behind two ports.
//
// A port sees words of WIDTH bits.  Words of 9, 18 and 36 bits divide a row; words of 1, 2
// and 4 bits divide the low 8 bits of each 9.  AD counts bits in units that leave room for
// the widest: a word of 9 bits is AD[13:3], one of 18 AD[13:4], one of 36 AD[13:5]; the
// low bits of AD then enable writes byte by byte.  MODE says what a port shows of its
// own write: "old" or "new" content, or "none", what it showed before.
//
// What one port reads where the other writes is undefined in silicon; here it is wrong:
// the complement of what is written, so that a design that relies on it is found out.
// Both clocks are taken to be the same.
module thresher_block_ram #(
  parameter WIDTH_A = 18, WIDTH_B = 18,
  parameter MODE_A = "none", MODE_B = "none",
  parameter ASYNC_RESET = 0,
  parameter BYTE = 9, PAIR = 18,  // bits of INIT that a byte takes, and a pair of them
  parameter [1024*PAIR-1:0] INIT = 0
) (
  input CLK_A, EN_A, WE_A, RST_A, input [13:0] AD_A, input [35:0] DI_A, output reg [35:0] DO_A,
  input CLK_B, EN_B, WE_B, RST_B, input [13:0] AD_B, input [35:0] DI_B, output reg [35:0] DO_B
);
  reg [35:0] rows [0:511];
  integer i;
  initial begin
    for (i = 0; i < 2048; i = i + 1)
      rows[i >> 2][9 * (i & 3) +: 9] = INIT[PAIR * (i >> 1) + BYTE * (i & 1) +: BYTE];
    DO_A = 0;
    DO_B = 0;
  end

  function [5:0] place(input integer width, input [4:0] ad);  // of a word in its row
    case (width)
      36: place = 0;
      18: place = ad[4] ? 18 : 0;
      9: place = 9 * ad[4:3];
      4: place = 9 * ad[4:3] + {ad[2], 2'b0};
      2: place = 9 * ad[4:3] + {ad[2:1], 1'b0};
      default: place = 9 * ad[4:3] + ad[2:0];
    endcase
  endfunction
  function [35:0] enabled(input integer width, input [3:0] ad);  // bits of a word
    case (width)
      36: enabled = {{9{ad[3]}}, {9{ad[2]}}, {9{ad[1]}}, {9{ad[0]}}};
      18: enabled = {18'b0, {9{ad[1]}}, {9{ad[0]}}};
      default: enabled = (36'b1 << width) - 1;
    endcase
  endfunction

  wire [5:0] place_a = place(WIDTH_A, AD_A[4:0]), place_b = place(WIDTH_B, AD_B[4:0]);
  wire write_a = EN_A & WE_A, write_b = EN_B & WE_B;
  wire [35:0] mask_a = write_a ? enabled(WIDTH_A, AD_A[3:0]) << place_a : 0;
  wire [35:0] mask_b = write_b ? enabled(WIDTH_B, AD_B[3:0]) << place_b : 0;
  wire [35:0] data_a = DI_A << place_a, data_b = DI_B << place_b;
  wire same = AD_A[13:5] == AD_B[13:5];
  wire [35:0] hit_a = same ? mask_a : 0, hit_b = same ? mask_b : 0;

  wire [35:0] old_a = rows[AD_A[13:5]], old_b = rows[AD_B[13:5]];
  wire [35:0] new_a = (old_a & ~mask_a & ~hit_b) | (data_a & mask_a) | (data_b & hit_b);
  wire [35:0] new_b = (old_b & ~mask_b & ~hit_a) | (data_b & mask_b) | (data_a & hit_a);
  wire [35:0] seen_a = ((MODE_A == "new" ? new_a : old_a) & ~hit_b) | (~data_b & hit_b);
  wire [35:0] seen_b = ((MODE_B == "new" ? new_b : old_b) & ~hit_a) | (~data_a & hit_a);
  wire [35:0] word_a = (seen_a >> place_a) & ((37'b1 << WIDTH_A) - 1);
  wire [35:0] word_b = (seen_b >> place_b) & ((37'b1 << WIDTH_B) - 1);

  always @(posedge CLK_A) if (write_a) rows[AD_A[13:5]] <= new_a;
  always @(posedge CLK_B) if (write_b) rows[AD_B[13:5]] <= new_b;

  generate
    if (ASYNC_RESET) begin
      always @(posedge CLK_A, posedge RST_A)
        if (RST_A) DO_A <= 0;
        else if (EN_A && (!WE_A || MODE_A != "none")) DO_A <= word_a;
      always @(posedge CLK_B, posedge RST_B)
        if (RST_B) DO_B <= 0;
        else if (EN_B && (!WE_B || MODE_B != "none")) DO_B <= word_b;
    end else begin
      always @(posedge CLK_A)
        if (RST_A) DO_A <= 0;
        else if (EN_A && (!WE_A || MODE_A != "none")) DO_A <= word_a;
      always @(posedge CLK_B)
        if (RST_B) DO_B <= 0;
        else if (EN_B && (!WE_B || MODE_B != "none")) DO_B <= word_b;
    end
  endgenerate
endmodule
